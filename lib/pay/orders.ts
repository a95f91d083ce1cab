/** What we know of an order: written before WeChat is asked for it, and its last known state. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { createRecords, RECORD_LIFE_SECONDS, sameContent } from './records.ts'
import { ORDER_STATES, type OrderState } from './v3/states.ts'

export interface OrderRecord {
  api: 'v2' | 'v3'
  appid: string
  mchid: string
  outTradeNo: string
  openid: string
  totalFen: number
  currency: string
  description: string
  attach?: string
  /** ISO 8601. */
  timeExpire?: string
  /** Unix seconds. */
  createdAt: number
}

/** WeChat closes an unpaid order by itself after seven days; one that may be paid for longer at its own end, which WeChat cuts (pay.md B9). */
const LIFE_MS = 7 * 86_400_000
const LONGEST_LIFE_MS = 90 * 86_400_000

/** Until when it may be paid, in milliseconds since 1970. */
export function endMsOf({ createdAt, timeExpire }: Pick<OrderRecord, 'createdAt' | 'timeExpire'>): number {
  const startMs = createdAt * 1000
  return timeExpire === undefined ? startMs + LIFE_MS : Math.min(Date.parse(timeExpire), startMs + LONGEST_LIFE_MS)
}

/** An order of long life is known as long after its end as others. */
function lifeSeconds(order: OrderRecord): number {
  const longerMs = endMsOf(order) - (order.createdAt * 1000 + LIFE_MS)
  return RECORD_LIFE_SECONDS + Math.max(0, Math.ceil(longerMs / 1000))
}

export interface Orders {
  /** Records an order once. Answers the record that stands and whether it is this one, or an earlier one of the same number. */
  remember(order: OrderRecord): Promise<{ record: OrderRecord; fresh: boolean }>
  /**
   * For an order that WeChat certainly did not take, so that its number can be used for another try. The record stays
   * where another call has come for the same order meanwhile: that one may be taken.
   */
  forget(order: OrderRecord): Promise<void>
  find(mchid: string, outTradeNo: string): Promise<OrderRecord | undefined>
  /** Notes a state of an order of ours, and answers the one that stands: a late "paid" never undoes a refund. */
  advance(mchid: string, outTradeNo: string, state: OrderState): Promise<OrderState>
  /** The last known state of an order of ours. */
  stateOf(mchid: string, outTradeNo: string): Promise<OrderState | undefined>
}

/** Paid comes after closed: what was paid in the same moment is paid, and somebody has to deliver or refund. */
const RANKS: Readonly<Record<OrderState, number>> = {
  NOTPAY: 0,
  USERPAYING: 0,
  PAYERROR: 0,
  CLOSED: 1,
  REVOKED: 1,
  SUCCESS: 2,
  REFUND: 3
}

export function createOrders(redis: Redis, keys: Keys): Orders {
  const records = createRecords<OrderRecord>(redis, lifeSeconds)
  const placeOf = (mchid: string, outTradeNo: string) => ({
    record: keys.order(mchid, outTradeNo),
    state: keys.orderState(mchid, outTradeNo)
  })

  return {
    remember: (order) => records.remember(placeOf(order.mchid, order.outTradeNo), order),
    forget: (order) => records.forget(placeOf(order.mchid, order.outTradeNo), order),
    find: (mchid, outTradeNo) => records.find(placeOf(mchid, outTradeNo)),
    advance: (mchid, outTradeNo, state) => records.advance(placeOf(mchid, outTradeNo), state, RANKS[state]),
    async stateOf(mchid, outTradeNo) {
      const held = await records.stateOf(placeOf(mchid, outTradeNo))
      return ORDER_STATES.find((state) => state === held)
    }
  }
}

/** Whether the same order is meant: everything that WeChat would refuse to see changed under the same number (pay.md A3). */
export const sameOrder = (one: OrderRecord, other: OrderRecord): boolean => sameContent(one, other)

/** Money moved: WeChat calls a paid order REFUND as soon as a part of it is on its way back. */
export const isPaid = (state: OrderState | undefined): boolean => state === 'SUCCESS' || state === 'REFUND'
