/** Names in the environment that are no settings, but that somebody took for one. */

import type { Variables } from './model.ts'
import { notesOf } from './notes.ts'
import { LOWER_CASE_NAMES } from './proxy.ts'
import { Environment, type SettingName } from './schema.ts'

export interface Misspelt {
  name: string
  /** The setting that is meant; undefined: a later version knows it, this one does not. */
  meant: string | undefined
}

/** What other programs and the documents of WeChat call it. */
const OTHER_NAMES: Readonly<Record<string, SettingName>> = {
  REDIS_DSN: 'REDIS_URL',
  REDIS_CONNECTION_STRING: 'REDIS_URL',
  WX_APPID: 'WECHAT_APPID',
  WX_SECRET: 'WECHAT_SECRET',
  WX_APPSECRET: 'WECHAT_SECRET',
  WECHAT_APPSECRET: 'WECHAT_SECRET',
  WECHAT_TOKEN: 'WECHAT_PUSH_TOKEN',
  WECHAT_AES_KEY: 'WECHAT_PUSH_AES_KEY',
  WECHAT_ENCODING_AES_KEY: 'WECHAT_PUSH_AES_KEY',
  WECHAT_MCHID: 'WECHAT_PAY_MCHID',
  WX_MCHID: 'WECHAT_PAY_MCHID',
  WECHAT_PAY_SERIAL_NO: 'WECHAT_PAY_CERT_SERIAL',
  WEBHOOK_KEY: 'WEBHOOK_SECRET',
  WECHAT_CONFIG: 'WECHAT_CONFIG_FILE',
  TRUST_PROXIES: 'TRUST_PROXY',
  TRUSTED_PROXY: 'TRUST_PROXY',
  TRUSTED_PROXIES: 'TRUST_PROXY'
}

/** Settings of later versions. A start that sets one expects what is not there. */
export const LATER_NAMES = ['ALERT_URL', 'WEBHOOKS_FILE', 'WEB_CONCURRENCY'] as const

/** Kubernetes tells of services in variables such as REDIS_PORT=tcp://10.0.0.1:6379. */
const SERVICE_LINK = /^(?:tcp|udp|sctp):\/\//

const OWN_PREFIX = /^WXGATE_/

/** Shorter names are too near to too many others. */
const SHORTEST = 8

const NAMES = Object.entries(Environment.properties).flatMap(([name, schema]) => {
  const { secret, file } = notesOf(schema)
  return secret || file ? [name, `${name}_FILE`] : [name]
})
const KNOWN: ReadonlySet<string> = new Set([...NAMES, ...LOWER_CASE_NAMES])

/** Finds them by their names alone, in the order of the environment. Empty counts as unset. */
export function findMisspelt(env: Variables): Misspelt[] {
  return Object.entries(env).flatMap(([name, value]) => {
    if (!value || KNOWN.has(name) || SERVICE_LINK.test(value)) return []
    const meant = meantBy(name)
    const isLater = LATER_NAMES.some((later) => later === name)
    return meant !== undefined || isLater ? [{ name, meant: isLater ? undefined : meant }] : []
  })
}

function meantBy(name: string): string | undefined {
  const bare = name.replace(OWN_PREFIX, '')
  if (KNOWN.has(bare)) return bare
  // Only secrets and PEMs come from files.
  const value = bare.replace(/_FILE$/, '')
  if (value.includes('_') && KNOWN.has(value)) return value
  const plain = plainOf(name)
  const other = Object.entries(OTHER_NAMES).find(([known]) => plainOf(known) === plain)
  const near = NAMES.filter((known) => isSame(plain, known) || isNear(plain, plainOf(known)))
  return near.find((known) => isSame(plain, known)) ?? other?.[1] ?? near[0]
}

/** Without what people forget: capitals, underscores, and the project's own name in front. */
function plainOf(name: string): string {
  return name
    .toUpperCase()
    .replace(OWN_PREFIX, '')
    .replace(/[^A-Z0-9]/g, '')
}

/** But for one s at the end. Names of one word, such as HOST, have too many namesakes. */
function isSame(plain: string, known: string): boolean {
  return known.includes('_') && plain.replace(/S$/, '') === plainOf(known).replace(/S$/, '')
}

function isNear(plain: string, known: string): boolean {
  if (known.length < SHORTEST || Math.abs(plain.length - known.length) > 2) return false
  return distance(plain, known) <= (known.length < 14 ? 1 : 2)
}

/** Letters to add, to leave out, to replace, or to swap with their neighbours (optimal string alignment). */
function distance(left: string, right: string): number {
  let before: number[] = []
  let above = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const line = [row]
    for (let column = 1; column <= right.length; column++) {
      const replaced = at(above, column - 1) + (left[row - 1] === right[column - 1] ? 0 : 1)
      const isSwap = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      const swapped = row > 1 && column > 1 && isSwap ? at(before, column - 2) + 1 : replaced
      line.push(Math.min(at(above, column) + 1, at(line, column - 1) + 1, replaced, swapped))
    }
    before = above
    above = line
  }
  return at(above, right.length)
}

const at = (line: readonly number[], column: number): number => line[column] ?? 0

/** Which settings, where they are missing, may have been given under the name that was misspelt. */
export function namesFor({ meant = '' }: Misspelt): string[] {
  const setting = meant.replace(/_FILE$/, '')
  return Object.entries(Environment.properties)
    .filter(([name, schema]) => [setting, meant].some((one) => one === name || one === notesOf(schema).alternative))
    .map(([name]) => name)
}
