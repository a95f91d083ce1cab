/** Calls of the merchant's backend handed on to WeChat with a managed access_token, and nothing else changed (contract: /internal). */
import { ServiceError } from '../errors.ts'
import { type Meters, observedCall } from '../metrics/meters.ts'
import type { AccessTokens } from './access-token.ts'
import type { ApiSecurity } from './api-security.ts'
import { type Members, readMembers } from './api-security-members.ts'
import { STALE_TOKEN_ERRCODES } from './errcodes.ts'
import { UPSTREAM_METHODS, type UpstreamMethod } from './exchange.ts'
import type { Incoming, Upstream } from './http.ts'

export interface PassedCall {
  /** Of a configured app. */
  appid: string
  method: UpstreamMethod
  /** Path and query as they came, from the slash on which WeChat's own path begins with. */
  target: string
  contentType?: string | undefined
  body?: Buffer | undefined
}

export interface Passthrough {
  readonly methods: readonly UpstreamMethod[]
  /**
   * WeChat's answer with its own status and bytes, whatever it says; of its headers those that tell about the bytes.
   * After 40001, 40014 or 42001 the token is renewed and the call repeated, once; nothing else is ever sent twice.
   * An access_token in the query is replaced by ours. Undefined, with nothing sent: the call has to go out under API security,
   * and its body is no JSON object. Throws WECHAT_*, and NOT_FOUND for the calls whose answer is a session_key.
   */
  send(call: PassedCall): Promise<Incoming | undefined>
}

export interface PassthroughOptions {
  accessTokens: Pick<AccessTokens, 'get'>
  upstream: Pick<Upstream, 'send'>
  apiSecurity: ApiSecurity
  meters: Pick<Meters, 'upstreamCall'>
}

type SendWith = (accessToken: string) => Promise<Incoming>

export function createPassthrough(options: PassthroughOptions): Passthrough {
  const { accessTokens, upstream, apiSecurity, meters } = options

  /** Everything about the call but its token; undefined where the body cannot be protected. */
  function prepare({ appid, method, target, contentType, body }: PassedCall): SendWith | undefined {
    const { path, query } = split(target)
    const callProtected = apiSecurity.of(appid, path)
    if (callProtected !== undefined) {
      const parameters = readParameters(query, body)
      return parameters && ((token) => callProtected(token, parameters))
    }
    const base = `${path}?${query}${query === '' ? '' : '&'}access_token=`
    const request = { method, ...(contentType !== undefined && { headers: { 'content-type': contentType } }) }
    return (token) =>
      upstream.send({ ...request, path: base + encodeURIComponent(token), ...(body !== undefined && { body }) })
  }

  async function observe(send: SendWith, token: string): Promise<{ answer: Incoming; errcode: number }> {
    let errcode = 0
    const answer = await observedCall(
      meters,
      'passthrough',
      () => send(token),
      (received) => {
        errcode = errcodeOf(received)
        return errcode === 0 ? 'ok' : String(errcode)
      }
    )
    return { answer, errcode }
  }

  return {
    methods: UPSTREAM_METHODS,

    async send(call) {
      withholdSessionKeys(call.target)
      const send = prepare(call)
      if (send === undefined) return undefined
      const { token } = await accessTokens.get(call.appid)
      const { answer, errcode } = await observe(send, token)
      if (!STALE_TOKEN_ERRCODES.has(errcode)) return presentable(answer)
      const fresh = await accessTokens.get(call.appid, token)
      const again = await observe(send, fresh.token)
      return presentable(again.answer)
    }
  }
}

/** Calls that answer with a session_key, which leaves this house in no answer, and the door that does their work. */
const WITHHELD: ReadonlyMap<string, string> = new Map([
  ['jscode2session', 'POST /api/login exchanges login codes'],
  ['resetusersessionkey', 'POST /internal/apps/{appid}/users/{openid}/session-key/reset does this']
])

/** Anywhere in the path, however it is spelt: how a server in between would read it is not known here. */
function withholdSessionKeys(target: string): void {
  const path = decodeURIComponent(target.split(/[?#]/, 1)[0] ?? '').toLowerCase()
  for (const [name, instead] of WITHHELD)
    if (path.includes(name))
      throw new ServiceError('NOT_FOUND', { message: `This call answers with a session_key; ${instead}` })
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
function readParameters(query: string, body: Buffer | undefined): Members | undefined {
  const members = body === undefined || body.length === 0 ? new Map() : readMembers(body)
  if (members === undefined) return undefined
  members.delete('access_token')
  const fromQuery = Array.from(new URLSearchParams(query), ([name, value]) => [name, JSON.stringify(value)] as const)
  return new Map([...fromQuery, ...members])
}

/** Failures are short JSON; an image, or a long answer, is not looked into. */
const LONGEST_FAILURE_BYTES = 2048
const FIRST_BRACE = 0x7b

function errcodeOf({ body }: Incoming): number {
  if (body[0] !== FIRST_BRACE || body.length > LONGEST_FAILURE_BYTES) return 0
  try {
    const errcode = Number(JSON.parse(body.toString()).errcode)
    return Number.isInteger(errcode) ? errcode : 0
  } catch {
    return 0
  }
}

/** What tells about the bytes. Cookies, caching and connections are between WeChat and us; num-used is how many QR codes were made. */
const KEPT_HEADERS = [
  'content-type',
  'content-encoding',
  'content-disposition',
  'content-language',
  'last-modified',
  'num-used'
] as const

function presentable({ status, headers, body }: Incoming): Incoming {
  if (status > 599) throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: `WeChat answered with HTTP ${status}` })
  const kept = KEPT_HEADERS.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]] as const]))
  return { status, headers: Object.fromEntries(kept), body }
}
