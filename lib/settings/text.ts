/** Readers of single values: each answers what the text means, or undefined where it breaks the setting's rule. */

import { isIP } from 'node:net'
import { decodeCanonicalBase64 } from '../util/bytes.ts'
import { decodePercent } from '../util/percent.ts'

const ORIGIN = /^https?:\/\/[^\s/?#@\\]+\/?$/i
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
const PROXY_NAMES = ['loopback', 'linklocal', 'uniquelocal']
const WEBHOOK_SECRET = /^whsec_(.+)$/s
const REDIS = /^(rediss?|redis\+sentinel|redis\+cluster):\/\/(?:([^\s/?#@]*)@)?([^\s/?#@]+)(?:\/([^\s/?#@]*))?$/
const REDIS_SOCKET = /^unix:\/[^\s?#]+$/
const REDIS_NODE = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d+)$/

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

/** `http://` may be left out. Socks is another protocol, and a path means nothing to a proxy. */
export function readProxyUrl(text: string): string | undefined {
  if (!/^(?:https?:\/\/)?[^\s/?#\\]+\/?$/i.test(text)) return undefined
  const url = readUrl(/^https?:\/\//i.test(text) ? text : `http://${text}`)
  if (url === undefined) return undefined
  return [url.username, url.password].some((part) => decodePercent(part) === undefined) ? undefined : url.href
}

/**
 * Answers the text itself. It has one of five forms, so that a slip stops the start instead of ending in endless
 * reconnects. No query in any form: ioredis would take it for options and so override ours. User and password may stand
 * before the first host in every form but `unix:`.
 */
export function readRedisUrl(text: string): string | undefined {
  if (REDIS_SOCKET.test(text)) return text
  const match = REDIS.exec(text)
  if (match === null) return undefined
  const [, scheme = '', credentials = '', hosts = '', path = ''] = match
  return decodePercent(credentials) !== undefined && isTarget(scheme, hosts, path) ? text : undefined
}

function isTarget(scheme: string, hosts: string, path: string): boolean {
  if (scheme === 'redis+sentinel') return areNodes(hosts) && /^[A-Za-z0-9._-]+$/.test(path)
  if (scheme === 'redis+cluster') return areNodes(hosts) && path === ''
  return /^\d{0,5}$/.test(path) && !hosts.includes(',') && readUrl(`redis://${hosts}`) !== undefined
}

/** A port is required: Sentinels and cluster nodes have different usual ones, and guessing looks like an outage. */
function areNodes(hosts: string): boolean {
  return hosts.split(',').every((host) => isWholeUpTo(REDIS_NODE.exec(host)?.[1] ?? '', 65535))
}

/** A whole number from 1 to `max`, in plain digits. */
function isWholeUpTo(text: string, max: number): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= max
}

function readUrl(text: string): URL | undefined {
  return URL.parse(text) ?? undefined
}
