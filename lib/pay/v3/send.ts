/** One request to APIv3: signed, sent, counted. Nobody has verified what comes back. */
import { randomBytes } from 'node:crypto'
import { type Meters, observedCall } from '../../metrics/meters.ts'
import type { Incoming, Upstream } from '../../wechat/http.ts'
import { authorizationV3 } from './authorization.ts'
import type { CredentialsV3 } from './credentials.ts'
import { type CallV3, readErrorBodyV3 } from './errors.ts'

/** Without a User-Agent some of WeChat's APIs refuse. */
const HEADERS = { 'user-agent': 'wxgate', 'accept-language': 'zh-CN' }

export interface OutgoingV3 {
  call: CallV3
  method: 'GET' | 'POST'
  /** With its query, percent-encoded; the very text is signed. */
  path: string
  /** Becomes JSON. */
  body?: object
  /** What is asked for is a file, not JSON. */
  isFile?: boolean
}

export interface SenderV3 {
  /**
   * Signs anew and sends. `attempt`, from 0: each goes to the next host first. Throws WECHAT_UNREACHABLE, WECHAT_TIMEOUT and
   * WECHAT_BAD_RESPONSE as Upstream does; HTTP errors are answers.
   */
  send(credentials: CredentialsV3, request: OutgoingV3, attempt?: number): Promise<Incoming>
}

export interface SenderOptionsV3 {
  upstream: Pick<Upstream, 'send'>
  meters: Pick<Meters, 'upstreamCall'>
  /** Milliseconds since 1970. */
  now: () => number
}

export function createSenderV3({ upstream, meters, now }: SenderOptionsV3): SenderV3 {
  return {
    send(credentials, { call, method, path, body: content, isFile = false }, attempt = 0) {
      const body = content && JSON.stringify(content)
      const request = { method, path, ...(body !== undefined && { body }) }
      const timestamp = Math.floor(now() / 1000)
      const headers = {
        ...HEADERS,
        accept: isFile ? '*/*' : 'application/json',
        authorization: authorizationV3({ ...request, timestamp, nonce: makeNonce() }, credentials),
        ...(body !== undefined && { 'content-type': 'application/json; charset=utf-8' }),
        // Answers are then signed with this key (pay.md B5).
        ...(credentials.publicKey && { 'wechatpay-serial': credentials.publicKey.id })
      }
      const send = () => upstream.send({ ...request, headers }, attempt)
      return observedCall(meters, meterNameV3(call, isFile), send, outcomeOf)
    }
  }
}

/** 32 characters. */
export const makeNonce = (): string => randomBytes(16).toString('hex')

/** How a call is counted: the end of its path is often a number of the merchant's. */
export const meterNameV3 = (call: CallV3, isFile = false): string => `v3-${call}${isFile ? '-file' : ''}`

function outcomeOf({ status, body }: Incoming): string {
  if (status === 200 || status === 204) return 'ok'
  return readErrorBodyV3(body)?.code ?? 'FAIL'
}
