/**
 * Apps and merchants, from the `WECHAT_*` variables or from the configuration file: two forms of one document, one
 * judge.
 */

import { readRsaCertificate, serialOf, unescapePem } from '../crypto/pem.ts'
import { missing, readOrReport } from './environment.ts'
import type { Issues } from './issues.ts'
import type { App, Merchant, ReadFile } from './model.ts'
import type { Environment } from './schema.ts'
import { certainSlip, guessable } from './slips.ts'
import { checkDocument, type Form } from './wechat-check.ts'
import { AppEntry, MerchantEntry, WechatConfig } from './wechat-schema.ts'

export interface WechatSettings {
  apps: App[]
  merchants: Merchant[]
}

const FILE = 'WECHAT_CONFIG_FILE'

/** Others are not named in issues: they came from outside, and a slip can put a secret there. */
const FIELDS: ReadonlySet<string> = new Set(
  [WechatConfig, AppEntry, AppEntry.properties.apiSecurity, MerchantEntry].flatMap(({ properties }) =>
    Object.keys(properties)
  )
)

const variables: Form = { nameOf: variableOf, missing: (path) => missing(variableOf(path)) }
const configFile: Form = { nameOf: placeOf, missing: () => 'is required' }

/** Empty lists after any fault; the settings are never handed out then. */
export function readWechat(env: Environment, readFile: ReadFile, issues: Issues): WechatSettings {
  const app = entryOf(env, '/apps/0', AppEntry)
  const merchant = entryOf(env, '/merchants/0', MerchantEntry)
  if (env.WECHAT_CONFIG_FILE === undefined) {
    const document = { apps: [app], merchants: Object.keys(merchant).length === 0 ? [] : [merchant] }
    return toSettings(checkDocument(document, variables, issues))
  }
  const places = [...prefixed('/apps/0/', app), ...prefixed('/merchants/0/', merchant)]
  if (places.length > 0) issues.add(FILE, `and ${places.map(variableOf).join(', ')} are both given; keep one form`)
  return toSettings(readConfigFile(env.WECHAT_CONFIG_FILE, readFile, issues))
}

/** `/merchants/0/apiV3Key` is WECHAT_PAY_API_V3_KEY. */
function variableOf(path: string): string {
  const [, list, , field = ''] = path.split('/')
  const name = field.replace(/[A-Z]/g, '_$&').toUpperCase()
  return list === 'apps' ? `WECHAT_${name}` : `WECHAT_PAY_${name}`
}

/** `/apps/1/secret` is apps[1].secret of the file. */
function placeOf(path: string): string {
  const place = path
    .slice(1)
    .replaceAll('/', '.')
    .replace(/\.(\d+)/g, '[$1]')
  return place === '' ? FILE : `${FILE} ${place}`
}

/** Fields that no variable exists for are never in `env`. */
function entryOf(env: Readonly<Record<string, unknown>>, path: string, schema: typeof AppEntry | typeof MerchantEntry) {
  const fields = Object.keys(schema.properties).map((field) => [field, env[variableOf(`${path}/${field}`)]] as const)
  const given = fields.filter(([, value]) => value !== undefined)
  return Object.fromEntries(given.map(([field, value]) => [field, unescapePem(value)]))
}

function prefixed(prefix: string, entry: object): string[] {
  return Object.keys(entry).map((field) => `${prefix}${field}`)
}

function readConfigFile(path: string, readFile: ReadFile, issues: Issues): WechatConfig | undefined {
  const content = readOrReport(FILE, path, readFile, issues)
  if (content === undefined) return undefined
  const document = parseJson(content)
  if (document !== undefined) return checkDocument(withoutSlips(document, '', issues), configFile, issues)
  issues.add(FILE, `names a file ${jsonProblem(content)}`)
  return undefined
}

function jsonProblem(content: string): string {
  if (content.startsWith('\ufeff')) return `whose content ${certainSlip(content)}`
  if (content.trim() === '') return 'that is empty'
  return /[“”]/.test(content) ? 'that is not valid JSON: it holds typographic quotes' : 'that is not valid JSON'
}

/** The document; texts in it that something happened to on their way are reported, and nothing more is said of them. */
function withoutSlips(value: unknown, path: string, issues: Issues): unknown {
  const problem = typeof value === 'string' ? slipOf(value, path) : undefined
  if (problem !== undefined) {
    issues.add(placeOf(path), problem)
    issues.settle(placeOf(path))
  }
  if (typeof value === 'object' && value !== null)
    for (const [name, inner] of Object.entries(value))
      if (FIELDS.has(name) || Array.isArray(value)) withoutSlips(inner, `${path}/${name}`, issues)
  return value
}

const slipOf = (value: string, path: string): string | undefined =>
  certainSlip(value) ?? (path.endsWith('/secret') ? guessable(value) : undefined)

/** JSON has no undefined, so that stands for a fault; the parser's own message would quote the file. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, (_name, value: unknown) => unescapePem(value))
  } catch {
    return undefined
  }
}

function toSettings(config: WechatConfig | undefined): WechatSettings {
  const { apps, merchants = [] } = config ?? { apps: [] }
  const appids = apps.map(({ appid }) => appid)
  return { apps, merchants: merchants.map((merchant) => toMerchant(merchant, appids)) }
}

function toMerchant(entry: MerchantEntry, appids: string[]): Merchant {
  const certificate = entry.cert === undefined ? undefined : readRsaCertificate(entry.cert)
  const certSerial = entry.certSerial?.toUpperCase() ?? (certificate && serialOf(certificate))
  return { ...entry, appids: [...(entry.appids ?? appids)], ...(certSerial !== undefined && { certSerial }) }
}
