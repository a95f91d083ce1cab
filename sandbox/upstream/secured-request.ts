/** Opens a request of the API security mode: headers, then age, then signature, then the seal, then what was sealed. */
import type { Security } from '../state/security.ts'
import { additionalData, type Binding, open, signatureHolds, urlpathOf } from '../wire/api-security.ts'
import { Refusal } from '../wire/errcodes.ts'
import { readObject } from '../wire/json.ts'
import type { World } from '../world.ts'
import type { Incoming } from './serve.ts'
import { jsonBody, queryText, textOf } from './weixin.ts'

const MAX_AGE_SECONDS = 300
const HEADERS = ['wechatmp-timestamp', 'wechatmp-signature', 'wechatmp-appid'] as const
/** Base64 text of 16 to 32 random bytes, padded or not. */
const RANDOM = /^[A-Za-z0-9+/]{16,43}={0,2}$/

export interface Opened {
  security: Security
  binding: Binding
  /** The request as if it had come in plain. */
  inner: Incoming
  /** Of its parameters. */
  names: string[]
}

/** undefined: a plain request, which this app may make. Throws Refusal 40231 to 40240. */
export function openRequest(world: World, path: string, appid: string, request: Incoming): Opened | undefined {
  const security = world.security.get(appid)
  const isPlain = HEADERS.every((name) => request.headers[name] === undefined)
  if (isPlain && security?.required !== true) return undefined
  const binding = readBinding(world, urlpathOf(path), appid, request)
  if (security === undefined) throw new Refusal(40238)
  const signature = headerOf(request, 'wechatmp-signature') ?? ''
  const body = Buffer.isBuffer(request.body) ? request.body : ''
  if (!signatureHolds(security.appPublicKey, binding, body, signature)) throw new Refusal(40234)
  const fields = openFields(security, binding, request)
  return { security, binding, inner: plainRequest(request, fields), names: Object.keys(fields) }
}

/** In the order of the errcodes. Wechatmp-Serial is not asked for: without it requests succeed. */
function readBinding(world: World, urlpath: string, appid: string, request: Incoming): Binding {
  const timestamp = headerOf(request, 'wechatmp-timestamp')
  if (timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) throw new Refusal(40231)
  if (headerOf(request, 'wechatmp-signature') === undefined) throw new Refusal(40232)
  const header = headerOf(request, 'wechatmp-appid')
  if (header === undefined) throw new Refusal(40233)
  if (!/^wx[0-9a-f]{16}$/.test(header)) throw new Refusal(40236)
  if (header !== appid) throw new Refusal(40237)
  if (Math.abs(world.now() / 1000 - Number(timestamp)) > MAX_AGE_SECONDS) throw new Refusal(40240)
  return { urlpath, appid, timestamp: Number(timestamp) }
}

function headerOf(request: Incoming, name: string): string | undefined {
  return textOf(request.headers[name])
}

/** The parameters without the three that belong to the seal. Throws Refusal 40235. */
function openFields(security: Security, binding: Binding, request: Incoming): Record<string, unknown> {
  const plaintext = open(security.symKey, additionalData(binding, security.symSerial), jsonBody(request))
  const content = plaintext === undefined ? undefined : readObject(plaintext)
  if (content === undefined) throw new Refusal(40235)
  const { _n: random, _appid: appid, _timestamp: timestamp, ...fields } = content
  const isFresh = typeof random === 'string' && RANDOM.test(random)
  if (!isFresh || appid !== binding.appid || timestamp !== binding.timestamp) throw new Refusal(40235)
  return fields
}

/** Query and body were one object: so each of them gets it all, and the token stays where it was. */
function plainRequest(request: Incoming, fields: Record<string, unknown>): Incoming {
  return {
    method: request.method,
    url: request.url,
    headers: request.headers,
    query: { ...fields, access_token: queryText(request, 'access_token') },
    body: Buffer.from(JSON.stringify(fields))
  }
}
