/** One request to APIv3: signed, sent, counted. Nobody has verified what comes back. */
import type { Readable } from 'node:stream'
import { collect } from '../../http/checked-file.ts'
import type { Incoming } from '../../http/exchange.ts'
import type { Upstream } from '../../http/upstream.ts'
import { type Meters, observedCall } from '../../metrics/meters.ts'
import { makeNonce } from '../../util/ids.ts'
import type { CredentialsV3 } from './credentials.ts'
import { authorizationV3, type RequestV3 } from './crypto.ts'
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
}

export type FileV3 = { status: 'open'; file: Readable } | { status: 'failed'; answer: Incoming }

const MAX_FAILURE_BYTES = 64 * 1024

export interface SenderOptionsV3 {
  upstream: Pick<Upstream, 'send' | 'open'>
  meters: Pick<Meters, 'upstreamCall'>
  /** Milliseconds since 1970. */
  now: () => number
}

export class SenderV3 {
  readonly #options: SenderOptionsV3

  constructor(options: SenderOptionsV3) {
    this.#options = options
  }

  /**
   * Signs anew and sends. `attempt`, from 0: each goes to the next host first. Throws WECHAT_UNREACHABLE,
   * WECHAT_TIMEOUT and WECHAT_BAD_RESPONSE as Upstream does; HTTP errors are answers.
   */
  send(credentials: CredentialsV3, { call, method, path, body: content }: OutgoingV3, attempt = 0): Promise<Incoming> {
    const { upstream, meters } = this.#options
    const body = content && JSON.stringify(content)
    const request = { method, path, body }
    const type = body !== undefined && { 'content-type': 'application/json; charset=utf-8' }
    const headers = { ...this.#signed(credentials, request, 'application/json'), ...type }
    return observedCall(meters, meterNameV3(call), () => upstream.send({ ...request, headers }, attempt), outcomeOf)
  }

  /** Asks once for the file at `path`, of any length; where there is none the answer says why. Throws as `send`. */
  open(credentials: CredentialsV3, call: CallV3, path: string): Promise<FileV3> {
    const { upstream, meters } = this.#options
    const request = { method: 'GET', path } as const
    const headers = this.#signed(credentials, request, '*/*')
    const get = async (): Promise<FileV3> => {
      const { body: file, ...head } = await upstream.open({ ...request, headers })
      if (head.status === 200) return { status: 'open', file }
      return { status: 'failed', answer: { ...head, body: await collect(file, MAX_FAILURE_BYTES) } }
    }
    const outcome = (got: FileV3) => (got.status === 'open' ? 'ok' : outcomeOf(got.answer))
    return observedCall(meters, meterNameV3(call, true), get, outcome)
  }

  #signed(credentials: CredentialsV3, request: Pick<RequestV3, 'method' | 'path' | 'body'>, accept: string) {
    const timestamp = Math.floor(this.#options.now() / 1000)
    return {
      ...HEADERS,
      accept,
      authorization: authorizationV3({ ...request, timestamp, nonce: makeNonce() }, credentials),
      // Answers are then signed with this key (docs/wechat/pay.md B5).
      'wechatpay-serial': credentials.publicKey?.id
    }
  }
}

/** How a call is counted: the end of its path is often a number of the merchant's. */
export const meterNameV3 = (call: CallV3, isFile = false): string => `v3-${call}${isFile ? '-file' : ''}`

function outcomeOf({ status, body }: Incoming): string {
  if (status === 200 || status === 204) return 'ok'
  return readErrorBodyV3(body)?.code ?? 'FAIL'
}
