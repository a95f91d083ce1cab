/**
 * What the service tells about its own work, as plain calls: whoever works does not know how it is counted, or whether.
 */
import type { CallbackDoor } from '../callbacks/doors.ts'
import { type ErrorCode, ServiceError } from '../errors.ts'
import { isRedisAway } from '../redis/trouble.ts'

/** How something of ours ended: done, or refused with a code of the contract. */
export type Outcome = 'ok' | ErrorCode

/** Why a callback was not taken as it came; our words, never the sender's. */
export const CALLBACK_REASONS = [
  'signature',
  // What may be wrong with XML.
  'size',
  'encoding',
  'character',
  'doctype',
  'attribute',
  'nested',
  'duplicate',
  'name',
  'entity',
  'shape',
  // The field that is missing or not of its form.
  'appid',
  'mch_id',
  'openid',
  'out_trade_no',
  'transaction_id',
  'total_fee',
  'refund_fee',
  'cash_fee',
  'time_end',
  'body',
  'id',
  'event_type',
  'create_time',
  'resource',
  'mchid',
  'trade_state',
  'payer.openid',
  'amount.total',
  'amount.payer_total',
  'amount.refund',
  'amount.currency',
  'success_time',
  'attach',
  'bank_type',
  'out_refund_no',
  'refund_id',
  'refund_status',
  // What APIv3 looks at before anything else.
  'header',
  'wrong-door',
  'timestamp',
  'probe',
  'serial',
  // Sealed under another APIv3 key than ours.
  'unopenable',
  // The same of a v2 refund notice, which nothing else vouches for.
  'req_info',
  // Of a kind that is not ours.
  'other-event',
  // What the door for message push looks at.
  'query',
  'downgrade',
  'encryption',
  'format',
  'replay',
  'MsgType',
  // What contradicts our settings or our order.
  'wrong-merchant',
  'wrong-appid',
  'amount-mismatch',
  'other-content',
  // What WeChat itself, when asked, does not know.
  'unknown-refund',
  // What it did not confirm for days.
  'unconfirmed'
] as const
export type CallbackReason = (typeof CALLBACK_REASONS)[number]

/** The reason itself where it is listed; for any other `shape`, so that labels stay few. */
export const reasonOf = (text: string): CallbackReason => CALLBACK_REASONS.find((reason) => reason === text) ?? 'shape'

/** What became of a callback; `failed`: no verdict was reached, Redis being away. */
export const CALLBACK_VERDICTS = [
  'recorded',
  'duplicate',
  'not-success',
  'other',
  // The console's question whether the address of message push answers.
  'checked',
  // Stored, and to be confirmed by WeChat before it is recorded.
  'unconfirmed',
  'refused',
  'unknown-merchant',
  'quarantined',
  'failed'
] as const
export type CallbackVerdict = (typeof CALLBACK_VERDICTS)[number]

export interface Meters {
  /**
   * One request to WeChat, each try by itself. `api`: the last part of its path, `v3-…` for WeChat Pay's APIv3, or
   * `passthrough`; `outcome`: ok, WeChat's own code, or ours.
   */
  upstreamCall(api: string, outcome: string, seconds: number): void
  /** undefined where the app is not known. */
  login(appid: string | undefined, outcome: Outcome): void
  /** undefined where the token does not tell its app. */
  refresh(appid: string | undefined, outcome: Outcome): void
  /** WeChat was asked for an access token. */
  accessTokenRenewal(appid: string, outcome: Outcome): void
  /** Which held session_key opened or verified data: 0 for the newest, -1 where none did. */
  sessionKeyTried(position: number): void
  callback(door: CallbackDoor, verdict: CallbackVerdict, reason?: CallbackReason): void
  /** A session was looked up in Redis, found or not. */
  sessionRead(outcome: Outcome, seconds: number): void
}

/** Runs `work` and tells how it ended and how long it took. Throws what `work` throws. */
export async function observed<T>(
  work: () => Promise<T>,
  told: (outcome: Outcome, seconds: number) => void
): Promise<T> {
  const startedAt = performance.now()
  try {
    const result = await work()
    told('ok', secondsSince(startedAt))
    return result
  } catch (error) {
    told(codeOf(error), secondsSince(startedAt))
    throw error
  }
}

/** As `observed`, for one request to WeChat. `outcomeOf` reads the outcome where it stands in the answer. */
export async function observedCall<T>(
  meters: Pick<Meters, 'upstreamCall'>,
  api: string,
  send: () => Promise<T>,
  outcomeOf: (answer: T) => string = () => 'ok'
): Promise<T> {
  const startedAt = performance.now()
  try {
    const answer = await send()
    meters.upstreamCall(api, outcomeOf(answer), secondsSince(startedAt))
    return answer
  } catch (error) {
    meters.upstreamCall(api, wordOf(error), secondsSince(startedAt))
    throw error
  }
}

const secondsSince = (startedAt: number): number => (performance.now() - startedAt) / 1000

function codeOf(error: unknown): ErrorCode {
  if (error instanceof ServiceError) return error.code
  return isRedisAway(error) ? 'REDIS_UNAVAILABLE' : 'INTERNAL'
}

/** WeChat's own word where it had one. */
function wordOf(error: unknown): string {
  const { errcode, code } = (error instanceof ServiceError && error.wechat) || {}
  return String(errcode ?? code ?? codeOf(error))
}
