/** INTERNAL_API_KEYS: who of the merchant's backend may call, under which name, and what. */
import type { Issues } from './issues.ts'
import { notesOf } from './notes.ts'
import { Environment } from './schema.ts'
import { certainSlip, guessable } from './slips.ts'

/** What a key may be limited to. Which calls each opens: docs/backend.md, "Keys with scopes". */
export const KEY_SCOPES = ['read', 'login', 'events', 'pay', 'wechat'] as const
export type KeyScope = (typeof KEY_SCOPES)[number]

export interface ApiKey {
  /** Stands in the log line of each call; undefined: the key has none. */
  name: string | undefined
  key: string
  /** Without repeats; all of them where the entry names none. */
  scopes: readonly KeyScope[]
}

/** Only what fits into an Authorization header. A colon would leave open where the name ends. */
const KEY = /^[\x21-\x39\x3b-\x7e]{32,}$/
const NAME = /^[A-Za-z0-9._-]{1,32}$/

/**
 * Reads `key`, `name:key` or `name/scope+scope:key`, with commas between. Issues name the entry by its number, never
 * its text.
 */
export function readApiKeys(text: string | undefined, issues: Issues): ApiKey[] {
  if (text === undefined) return []
  const found: (ApiKey | undefined)[] = []
  for (const entry of text.split(',')) {
    const read = readEntry(entry.trim())
    const apiKey = typeof read === 'string' ? undefined : read
    const problem = typeof read === 'string' ? read : repeatOf(read, found)
    if (problem !== undefined) issues.add('INTERNAL_API_KEYS', `entry ${found.length + 1} ${problem}`)
    found.push(apiKey)
  }
  return found.filter((apiKey) => apiKey !== undefined)
}

/** The entry, or what is wrong with it. */
function readEntry(entry: string): ApiKey | string {
  const at = entry.indexOf(':')
  const key = entry.slice(at + 1)
  const slip = certainSlip(key) ?? guessable(key)
  if (slip !== undefined) return slip
  const [name = '', ...rest] = at === -1 ? [] : entry.slice(0, at).split('/')
  const isNamed = at === -1 || NAME.test(name)
  if (!isNamed || rest.length > 1 || !KEY.test(key)) return notesOf(Environment.properties.INTERNAL_API_KEYS).rule
  const words = rest[0]?.split('+') ?? KEY_SCOPES
  const scopes = KEY_SCOPES.filter((scope) => words.includes(scope))
  if (scopes.length < new Set(words).size) return `names a scope that is none of ${KEY_SCOPES.join(', ')}`
  return { name: at === -1 ? undefined : name, key, scopes }
}

/** The same key twice could have two meanings, the same name twice would tell nobody apart. */
function repeatOf({ key, name }: ApiKey, before: readonly (ApiKey | undefined)[]): string | undefined {
  const sameKey = before.findIndex((other) => other?.key === key)
  if (sameKey !== -1) return `has the same key as entry ${sameKey + 1}`
  const sameName = before.findIndex((other) => name !== undefined && other?.name === name)
  return sameName === -1 ? undefined : `has the same name as entry ${sameName + 1}`
}
