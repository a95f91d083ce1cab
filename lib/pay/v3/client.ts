/**
 * Calls to APIv3 whose answers are verified, and repeated where WeChat asks for it and it is safe (docs/wechat/pay.md
 * B3, B15).
 */
import { ServiceError } from '../../errors.ts'
import type { Incoming } from '../../http/exchange.ts'
import type { CredentialsV3 } from './credentials.ts'
import type { SignedV3 } from './crypto.ts'
import { asServiceErrorV3, meaningV3, readErrorBodyV3 } from './errors.ts'
import type { PlatformKeyStore } from './platform-keys.ts'
import type { OutgoingV3, SenderV3 } from './send.ts'

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
  platformKeys: Pick<PlatformKeyStore, 'verify'>
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
