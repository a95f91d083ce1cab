/** What we know of an order: written before WeChat is asked for it, so that no callback comes too early to be compared. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'

/** WeChat closes an unpaid order after 7 days and repeats a callback for one more; the rest is for questions. */
const ORDER_LIFE_SECONDS = 40 * 86_400

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

export interface Orders {
  /** Records an order once. Answers the record that stands and whether it is this one, or an earlier one of the same number. */
  remember(order: OrderRecord): Promise<{ record: OrderRecord; fresh: boolean }>
  /**
   * For an order that WeChat certainly did not take, so that its number can be used for another try. The record stays
   * where another call has come for the same order meanwhile: that one may be taken.
   */
  forget(order: OrderRecord): Promise<void>
  find(mchid: string, outTradeNo: string): Promise<OrderRecord | undefined>
}

/** The first character of a record: one call wants this order, or several do. The rest is JSON. */
const ONE = '1'
const SEVERAL = '+'

/**
 * KEYS order · ARGV record, life (s): the record that was there before, else nothing. Where the same order is asked for again,
 * it is wanted by several from now on; a record ends with the time it was made, which is no part of the order.
 */
const REMEMBER_ORDER = defineScript(
  1,
  `
    local function content(record) return (string.gsub(record, ',"createdAt":%d+}$', '')) end
    local known = redis.call('GET', KEYS[1])
    if not known then
      redis.call('SET', KEYS[1], '${ONE}' .. ARGV[1], 'EX', ARGV[2])
      return false
    end
    if content(string.sub(known, 2)) == content(ARGV[1]) then redis.call('SETRANGE', KEYS[1], 0, '${SEVERAL}') end
    return known
  `
)

/** KEYS order · ARGV the record as one call wrote it. */
const FORGET_ORDER = defineScript(
  1,
  `if redis.call('GET', KEYS[1]) == '${ONE}' .. ARGV[1] then redis.call('DEL', KEYS[1]) end`
)

const read = (text: string): OrderRecord => JSON.parse(text.slice(1))

export function createOrders(redis: Redis, keys: Keys): Orders {
  return {
    async remember(order) {
      const key = keys.order(order.mchid, order.outTradeNo)
      const known = await runScript(redis, REMEMBER_ORDER, [key], [JSON.stringify(order), ORDER_LIFE_SECONDS])
      return typeof known === 'string' ? { record: read(known), fresh: false } : { record: order, fresh: true }
    },
    async forget(order) {
      await runScript(redis, FORGET_ORDER, [keys.order(order.mchid, order.outTradeNo)], [JSON.stringify(order)])
    },
    async find(mchid, outTradeNo) {
      const known = await redis.get(keys.order(mchid, outTradeNo))
      return known === null ? undefined : read(known)
    }
  }
}

/** Whether the same order is meant: everything that WeChat would refuse to see changed under the same number (pay.md A3). */
export function sameOrder(one: OrderRecord, other: OrderRecord): boolean {
  const { createdAt: _first, ...a } = one
  const { createdAt: _second, ...b } = other
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
}
