/** What we know of a refund: written before WeChat is asked for it, and its last known state. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { createRecords, RECORD_LIFE_SECONDS, sameContent } from './records.ts'
import type { RefundState } from './v3/states.ts'

export interface RefundRecord {
  api: 'v2' | 'v3'
  mchid: string
  outRefundNo: string
  /** One of the two says which payment is given back. */
  outTradeNo?: string
  transactionId?: string
  /** Fen to give back, and fen of the order. */
  amount: number
  total: number
  reason?: string
  /** Unix seconds. */
  createdAt: number
}

export interface RefundRecords {
  /** Records a refund once. Answers the record that stands and whether it is this one, or an earlier one of the same number. */
  remember(refund: RefundRecord): Promise<{ record: RefundRecord; fresh: boolean }>
  /** For a refund that WeChat certainly did not take; where another call has come for the same one, the record stays. */
  forget(refund: RefundRecord): Promise<void>
  find(mchid: string, outRefundNo: string): Promise<RefundRecord | undefined>
  /** Notes a state of a refund of ours, and answers the one that stands: the final ones never change. */
  advance(mchid: string, outRefundNo: string, state: RefundState): Promise<RefundState>
}

const RANKS: Readonly<Record<RefundState, number>> = { PROCESSING: 0, ABNORMAL: 1, SUCCESS: 2, CLOSED: 2 }

export function createRefundRecords(redis: Redis, keys: Keys): RefundRecords {
  const records = createRecords<RefundRecord>(redis, () => RECORD_LIFE_SECONDS)
  const placeOf = (mchid: string, outRefundNo: string) => ({
    record: keys.refund(mchid, outRefundNo),
    state: keys.refundState(mchid, outRefundNo)
  })

  return {
    remember: (refund) => records.remember(placeOf(refund.mchid, refund.outRefundNo), refund),
    forget: (refund) => records.forget(placeOf(refund.mchid, refund.outRefundNo), refund),
    find: (mchid, outRefundNo) => records.find(placeOf(mchid, outRefundNo)),
    advance: (mchid, outRefundNo, state) => records.advance(placeOf(mchid, outRefundNo), state, RANKS[state])
  }
}

/** Whether the same refund is meant, whichever api is asked for it. */
export const sameRefund = (one: RefundRecord, other: RefundRecord): boolean =>
  sameContent({ ...one, api: other.api }, other)

/** Nothing more will become of it. ABNORMAL may still become SUCCESS. */
export const isFinal = (state: RefundState): boolean => state === 'SUCCESS' || state === 'CLOSED'
