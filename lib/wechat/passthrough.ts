/** Calls of the merchant's backend, passed on to WeChat with a managed access_token and nothing else changed. */
import type { Readable } from 'node:stream'
import { ServiceError } from '../errors.ts'
import { type BegunIncoming, type Incoming, UPSTREAM_METHODS, type UpstreamMethod } from '../http/exchange.ts'
import type { Upstream } from '../http/upstream.ts'
import { type Meters, observedCall } from '../metrics/meters.ts'
import type { AccessTokens } from './access-token.ts'
import { errcodeOf, LONGEST_FAILURE_BYTES } from './answer-text.ts'
import type { ProtectedCalls } from './api-security/calls.ts'
import { type JsonMembers, readMembers } from './api-security/members.ts'
import { STALE_TOKEN_ERRCODES } from './errcodes.ts'

export interface PassedCall {
  /** Of a configured app. */
  appid: string
  method: UpstreamMethod
  /** Path and query as they came, from the slash on which WeChat's own path begins with. */
  target: string
  /** Of the request: those of PASSED_HEADERS are passed on. */
  headers: Incoming['headers']
  /** The Content-Type that came with the body. */
  bodyType: string | undefined
  body?: Buffer | undefined
}

/** Headers that ask for a part, or for what is new. Beside them only the type of the body is passed on. */
const PASSED_HEADERS = [
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range'
] as const

/** Those of `headers` that `names` lists. */
function pick(headers: Incoming['headers'], names: readonly string[]): Incoming['headers'] {
  const picked: Incoming['headers'] = {}
  for (const name of names) if (headers[name] !== undefined) picked[name] = headers[name]
  return picked
}

export interface PassthroughOptions {
  accessTokens: Pick<AccessTokens, 'get'>
  upstream: Pick<Upstream, 'begin'>
  protectedCalls: Pick<ProtectedCalls, 'of'>
  meters: Pick<Meters, 'upstreamCall'>
}

type SendWith = (accessToken: string) => Promise<BegunIncoming>

export class Passthrough {
  readonly methods: readonly UpstreamMethod[] = UPSTREAM_METHODS
  readonly #options: PassthroughOptions

  constructor(options: PassthroughOptions) {
    this.#options = options
  }

  /**
   * WeChat's answer with its own status and bytes, whatever it says; of its headers those that belong to status and
   * bytes. One that is longer than any failure is open: read its body, or destroy it. After 40001, 40014 or 42001 the
   * token is renewed and the call repeated, once; nothing else is ever sent twice. An access_token in the query is
   * replaced by ours. Undefined, with nothing sent: the call has to go out under API security, and its body is no JSON
   * object. Throws WECHAT_*, and NOT_FOUND for the calls whose answer is a session_key.
   */
  async send(call: PassedCall): Promise<BegunIncoming | undefined> {
    withholdSessionKeys(call.target)
    const send = this.#prepare(call)
    if (send === undefined) return undefined
    const { accessTokens } = this.#options
    const { token } = await accessTokens.get(call.appid)
    const { answer, errcode } = await this.#observe(send, token)
    if (!STALE_TOKEN_ERRCODES.has(errcode)) return presentable(answer)
    const fresh = await accessTokens.get(call.appid, token)
    const again = await this.#observe(send, fresh.token)
    return presentable(again.answer)
  }

  /** Everything about the call but its token; undefined where the body cannot be protected. */
  #prepare({ appid, method, target, headers, bodyType, body }: PassedCall): SendWith | undefined {
    const { upstream, protectedCalls } = this.#options
    const { path, query } = split(target)
    const sendProtected = protectedCalls.of(appid, path)
    if (sendProtected !== undefined) {
      const parameters = readParameters(query, body)
      return parameters && ((token) => sendProtected(token, parameters))
    }
    const base = `${path}?${query}${query === '' ? '' : '&'}access_token=`
    const passed = pick(headers, PASSED_HEADERS)
    if (bodyType !== undefined) passed['content-type'] = bodyType
    const request = { method, headers: passed, body, isTransfer: true }
    return (token) => upstream.begin({ ...request, path: base + encodeURIComponent(token) }, LONGEST_FAILURE_BYTES)
  }

  async #observe(send: SendWith, token: string): Promise<{ answer: BegunIncoming; errcode: number }> {
    let errcode = 0
    const outcomeOf = ({ headers, body }: BegunIncoming) => {
      if (!Buffer.isBuffer(body)) return whenRead(body)
      errcode = errcodeOf({ headers, body })
      return errcode === 0 ? 'ok' : String(errcode)
    }
    const answer = await observedCall(this.#options.meters, 'passthrough', () => send(token), outcomeOf)
    return { answer, errcode }
  }
}

/** How a call ends whose answer is open. A reader who leaves is no failure of WeChat's. */
function whenRead(body: Readable): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  body.once('error', reject).once('close', () => resolve('ok'))
  return promise
}

/** Calls that answer with a session_key, which no answer of ours may hold, and the endpoint that does their work. */
const WITHHELD: ReadonlyMap<string, string> = new Map([
  ['jscode2session', 'POST /api/login exchanges login codes'],
  ['resetusersessionkey', 'POST /internal/apps/{appid}/users/{openid}/session-key/reset does this']
])

/** Anywhere in the path, however it is spelt: how often a server in between would decode it is not known here. */
function withholdSessionKeys(target: string): void {
  const path = decodeFully(target.split(/[?#]/, 1)[0] ?? '').toLowerCase()
  for (const [name, instead] of WITHHELD)
    if (path.includes(name))
      throw new ServiceError('NOT_FOUND', { message: `This call answers with a session_key; ${instead}` })
}

/** More often than any chain of servers decodes. */
const MOST_DECODINGS = 8

/** Each `%XX` by itself, so that one that is wrong hides no other. */
function decodeFully(path: string): string {
  let decoded = path
  for (let times = 0; times < MOST_DECODINGS && decoded.includes('%'); times += 1)
    decoded = decoded.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return decoded
}

const ANY_ACCESS_TOKEN = /access|%/

/** The query comes back as it came, without any access_token. What follows a # is not part of an address. */
function split(target: string): { path: string; query: string } {
  const [address = ''] = target.split('#', 1)
  const mark = address.indexOf('?')
  if (mark === -1) return { path: address, query: '' }
  const query = address.slice(mark + 1)
  return { path: address.slice(0, mark), query: ANY_ACCESS_TOKEN.test(query) ? withoutToken(query) : query }
}

const withoutToken = (query: string): string =>
  query
    .split('&')
    .filter((part) => !new URLSearchParams(part).has('access_token'))
    .join('&')

/** Query and body as one object; where both have a name, the body's value counts. An absent body is an empty object. */
function readParameters(query: string, body: Buffer | undefined): JsonMembers | undefined {
  const members = body === undefined || body.length === 0 ? new Map() : readMembers(body)
  if (members === undefined) return undefined
  members.delete('access_token')
  const fromQuery = Array.from(new URLSearchParams(query), ([name, value]) => [name, JSON.stringify(value)] as const)
  return new Map([...fromQuery, ...members])
}

/**
 * Headers that belong to the status and to the bytes. Cookies, caching, connections and headers for browsers are not
 * passed on. num-used is the number of QR codes made.
 */
const KEPT_HEADERS = [
  'accept-ranges',
  'allow',
  'content-digest',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'digest',
  'etag',
  'last-modified',
  'location',
  'num-used',
  'repr-digest',
  'retry-after',
  'www-authenticate'
] as const
const KEPT_OF_OPEN = [...KEPT_HEADERS, 'content-length']

function presentable({ status, headers, body }: BegunIncoming): BegunIncoming {
  const isOpen = !Buffer.isBuffer(body)
  if (status > 599) {
    if (isOpen) body.destroy()
    throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: `WeChat answered with HTTP ${status}` })
  }
  // Of an open body nobody else knows the length.
  return { status, headers: pick(headers, isOpen ? KEPT_OF_OPEN : KEPT_HEADERS), body }
}
