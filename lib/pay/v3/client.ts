/**
 * Calls to APIv3: signed, sent and counted. Their answers are verified, and they are repeated where WeChat asks for it
 * and it is safe (docs/wechat/pay.md B3, B15).
 */
import type { Readable } from 'node:stream'
import { ServiceError } from '../../errors.ts'
import { collect } from '../../http/checked-file.ts'
import type { Incoming } from '../../http/exchange.ts'
import type { Upstream } from '../../http/upstream.ts'
import { type Meters, observedCall } from '../../metrics/meters.ts'
import { makeNonce } from '../../util/bytes.ts'
import { authorizationV3, type CredentialsV3, type RequestV3, type SignedV3, type VerificationV3 } from './crypto.ts'
import { asServiceErrorV3, type CallV3, meaningV3, readErrorBodyV3 } from './errors.ts'

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

/** Single requests: nobody has verified what comes back. */
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

export type OutcomeV3 =
  /** Signed by WeChat; the body of a 204 is empty. */
  | { status: 'ok'; body: Buffer }
  | {
      status: 'failed'
      error: ServiceError
      /** WeChat may have done what was asked, by this call or a try before its last one. */
      mayBeDone: boolean
      /** It, or a call before it, may have been done: ask before anything else. */
      queryFirst: boolean
    }

export interface ClientOptionsV3 {
  sender: SenderV3
  /** Those of WeChat that count. */
  platformKeys: { verify(credentials: CredentialsV3, message: SignedV3): Promise<VerificationV3> }
  /** Of one request. */
  timeoutMs: number
}

const MOST_TRIES = 3

/** What one try came to; `again`: the same may be asked once more at once. */
type Try = OutcomeV3 & { again: 'no' | 'once' | 'yes' }

export class ClientV3 {
  readonly #options: ClientOptionsV3

  constructor(options: ClientOptionsV3) {
    this.#options = options
  }

  /**
   * One call, signed anew at each repetition: up to twice where WeChat says that the fault was its own, or probes
   * whether we verify, and once on the next host where the connection broke. A refund is not repeated here. None begins
   * later than `timeoutMs` after the first. Fails only where Redis is away and the answer names an unknown certificate.
   */
  async send(credentials: CredentialsV3, request: OutgoingV3): Promise<OutcomeV3> {
    const giveUpAt = performance.now() + this.#options.timeoutMs
    let mayBeDone = false
    for (let attempt = 0; ; attempt++) {
      const { again, ...outcome } = await this.#tryOnce(credentials, request, attempt)
      if (outcome.status === 'ok') return outcome
      mayBeDone ||= outcome.mayBeDone
      const mayRepeat = again === 'yes' ? attempt + 1 < MOST_TRIES : again === 'once' && attempt === 0
      if (request.call === 'refund' || !mayRepeat || performance.now() >= giveUpAt) return { ...outcome, mayBeDone }
    }
  }

  /** As `send`, for the body. Throws the error of a failure. */
  async get(credentials: CredentialsV3, request: OutgoingV3): Promise<Buffer> {
    const outcome = await this.send(credentials, request)
    if (outcome.status === 'ok') return outcome.body
    throw outcome.error
  }

  async #tryOnce(credentials: CredentialsV3, request: OutgoingV3, attempt: number): Promise<Try> {
    try {
      const answer = await this.#options.sender.send(credentials, request, attempt)
      if (answer.status !== 200 && answer.status !== 204) return refused(request, answer)
      return await this.#verified(credentials, answer)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return { ...unclear(error), again: error.code === 'WECHAT_UNREACHABLE' ? 'once' : 'no' }
    }
  }

  async #verified(credentials: CredentialsV3, answer: SignedV3): Promise<Try> {
    const verdict = await this.#options.platformKeys.verify(credentials, answer)
    if (verdict.status === 'verified') return { status: 'ok', body: answer.body, again: 'no' }
    const { reason, serial = 'none', skewSeconds = 0 } = verdict
    const detail = `the answer is not WeChat's: ${reason} (serial ${serial}, ${skewSeconds} s behind our clock)`
    return { ...unclear(new ServiceError('WECHAT_BAD_RESPONSE', { detail })), again: reason === 'probe' ? 'yes' : 'no' }
  }
}

/** Where there is no answer, or none that can be believed. */
const unclear = (error: ServiceError) => ({ status: 'failed' as const, error, mayBeDone: true, queryFirst: true })

/** An error is not signed: it is believed as far as the connection is. */
function refused({ call }: OutgoingV3, { status, body }: Incoming): Try {
  const { repeat, queryFirst, error: code } = meaningV3(call, status, readErrorBodyV3(body)?.code)
  const error = asServiceErrorV3(call, status, body)
  const mayBeDone = repeat !== 'never' || code === 'WECHAT_BAD_RESPONSE'
  return {
    status: 'failed',
    error,
    mayBeDone,
    queryFirst: queryFirst || mayBeDone,
    again: repeat === 'safe' ? 'yes' : 'no'
  }
}
