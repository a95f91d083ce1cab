/** What we know of an order: written before WeChat is asked for it, so that no callback comes too early to be compared. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { runScript, type Script } from '../redis/script.ts'

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
  /** For an order that WeChat certainly did not take, so that its number can be used for another try. */
  forget(mchid: string, outTradeNo: string): Promise<void>
  find(mchid: string, outTradeNo: string): Promise<OrderRecord | undefined>
}

/** KEYS order · ARGV record, life (s): the record that was there before, else nothing. */
const REMEMBER_ORDER: Script = {
  name: 'wxgateRememberOrder',
  numberOfKeys: 1,
  lua: `
    local known = redis.call('GET', KEYS[1])
    if known then return known end
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return false
  `
}

export function createOrders(redis: Redis, keys: Keys): Orders {
  return {
    async remember(order) {
      const key = keys.order(order.mchid, order.outTradeNo)
      const known = await runScript(redis, REMEMBER_ORDER, [key], [JSON.stringify(order), ORDER_LIFE_SECONDS])
      return typeof known === 'string' ? { record: JSON.parse(known), fresh: false } : { record: order, fresh: true }
    },
    async forget(mchid, outTradeNo) {
      await redis.del(keys.order(mchid, outTradeNo))
    },
    async find(mchid, outTradeNo) {
      const known = await redis.get(keys.order(mchid, outTradeNo))
      return known === null ? undefined : JSON.parse(known)
    }
  }
}

/** Whether the same order is meant: everything that WeChat would refuse to see changed under the same number (pay.md A3). */
export function sameOrder(one: OrderRecord, other: OrderRecord): boolean {
  const { createdAt: _first, ...a } = one
  const { createdAt: _second, ...b } = other
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
}
