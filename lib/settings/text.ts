/** Readers of single values: each answers what the text means, or undefined where it breaks the setting's rule. */

import { isIP } from 'node:net'
import { decodeCanonicalBase64 } from '../util/bytes.ts'

const ORIGIN = /^https?:\/\/[^\s/?#@\\]+\/?$/i
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
const PROXY_NAMES = ['loopback', 'linklocal', 'uniquelocal']
const WEBHOOK_SECRET = /^whsec_(.+)$/s

/** An origin without a trailing slash. Plain http only to the machine itself: elsewhere it would carry secrets. */
export function readOrigin(text: string): string | undefined {
  const url = ORIGIN.test(text) ? readUrl(text) : undefined
  if (url === undefined) return undefined
  return url.protocol === 'https:' || LOOPBACK.test(url.hostname) ? url.origin : undefined
}

/** http is allowed: the merchant's backend usually stands in the same network, and the body is signed. */
export function readWebhookUrl(text: string): string | undefined {
  const url = /^https?:\/\/[^\s\\]+$/i.test(text) ? readUrl(text) : undefined
  return url === undefined || url.username !== '' || url.password !== '' ? undefined : url.href
}

/** What @fastify/proxy-addr takes, so that Fastify does not refuse it later; a range of `/0` would trust everybody. */
export function readProxy(text: string): string | undefined {
  if (PROXY_NAMES.includes(text)) return text
  const [address = '', bits, ...rest] = text.split('/')
  const family = address.includes('%') ? 0 : isIP(address)
  if (family === 0 || rest.length > 0) return undefined
  return bits === undefined || isWholeUpTo(bits, family === 4 ? 32 : 128) ? text : undefined
}

export function readWebhookSecret(text: string): string | undefined {
  const size = decodeCanonicalBase64(WEBHOOK_SECRET.exec(text)?.[1] ?? '')?.length ?? 0
  return size >= 24 && size <= 64 ? text : undefined
}

export function readRole(text: string): 'api' | 'worker' | undefined {
  return text === 'api' || text === 'worker' ? text : undefined
}

/** A whole number from 1 to `max`, in plain digits. */
export function isWholeUpTo(text: string, max: number): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= max
}

export function readUrl(text: string): URL | undefined {
  return URL.parse(text) ?? undefined
}
