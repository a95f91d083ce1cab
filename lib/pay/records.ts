/**
 * What we asked WeChat Pay to make, under numbers of ours, and its last known state. Written before the call, so that a
 * callback that arrives first still finds its record.
 */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'
import type { ApiName, OrderRecord, OrderState, RefundRecord, RefundState } from './model.ts'

/** Longer than WeChat repeats a callback about anything of it; the rest is for questions. */
const LIFE_SECONDS = 40 * 86_400

/** What is in every record, and no part of what was asked for. */
interface Made {
  /** By which it was asked for first. */
  api: ApiName
  /** Unix seconds at which it was asked for, last where that was done several times. */
  createdAt: number
}

/**
 * The first character of a record: one call wants this, or several do. The rest is JSON, with `api` first and
 * `createdAt` last.
 */
const ONE = '1'
const SEVERAL = '+'

/** KEYS record, state · ARGV record, life (s): the record that stands, or nothing where it is this one. */
const REMEMBER = defineScript(
  2,
  `
    local function content(record) return string.match(record, '^{"api":"v%d",(.*),"createdAt":%d+}$') end
    local known = redis.call('GET', KEYS[1])
    if not known then
      redis.call('SET', KEYS[1], '${ONE}' .. ARGV[1], 'EX', ARGV[2])
      return false
    end
    local record = string.sub(known, 2)
    if content(record) ~= content(ARGV[1]) then return known end
    local createdAt = string.match(ARGV[1], '%d+}$')
    local again = '${SEVERAL}' .. string.gsub(record, '%d+}$', createdAt)
    redis.call('SET', KEYS[1], again, 'EX', ARGV[2])
    redis.call('EXPIRE', KEYS[2], ARGV[2])
    return again
  `
)

/** KEYS record, state · ARGV the record as one call wrote it. */
const FORGET = defineScript(
  2,
  `if redis.call('GET', KEYS[1]) == '${ONE}' .. ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end`
)

/**
 * KEYS record, state · ARGV state, rank (0 to 9): the state that stands. Held is the rank, then the state, as long as
 * the record.
 */
const ADVANCE = defineScript(
  2,
  `
    local held = redis.call('GET', KEYS[2])
    local rank = held and tonumber(string.sub(held, 1, 1)) or 0
    local new = tonumber(ARGV[2])
    if held and (new < rank or (new == rank and new > 0)) then return string.sub(held, 2) end
    local life = redis.call('PTTL', KEYS[1])
    if life > 0 then redis.call('SET', KEYS[2], ARGV[2] .. ARGV[1], 'PX', life) end
    return ARGV[1]
  `
)

const read = <T>(text: string): T => JSON.parse(text.slice(1))

/** The same content is the same text, in whatever order it came. */
function write<T extends Made>({ api, createdAt, ...content }: T): string {
  return JSON.stringify({ api, ...Object.fromEntries(Object.entries(content).sort()), createdAt })
}

/** What orders and refunds differ in. */
interface Kind<T extends Made, State extends string> {
  /** Where a record lies, and beside it, in the same slot, the last known state of what it is about. */
  keysOf(keys: Keys, mchid: string, number: string): [record: string, state: string]
  numberOf(record: T): string
  /** A state only moves forward: from a lower rank to a higher one, and freely within rank 0. */
  ranks: Readonly<Record<State, number>>
  /** How long a record is kept from when it is asked for. */
  lifeSeconds(record: T): number
}

class Records<T extends Made & { mchid: string }, State extends string> {
  readonly #redis: Redis
  readonly #keys: Keys
  readonly #kind: Kind<T, State>

  constructor(redis: Redis, keys: Keys, kind: Kind<T, State>) {
    this.#redis = redis
    this.#keys = keys
    this.#kind = kind
  }

  #keysOf(record: T): [record: string, state: string] {
    return this.#kind.keysOf(this.#keys, record.mchid, this.#kind.numberOf(record))
  }

  /**
   * Records once. Answers the record that stands and whether it is this one, or an earlier one of the same number.
   * Where the same is asked for again, the record lives on from then.
   */
  async remember(record: T): Promise<{ record: T; fresh: boolean }> {
    const args = [write(record), this.#kind.lifeSeconds(record)]
    const known = await runScript(this.#redis, REMEMBER, this.#keysOf(record), args)
    return typeof known === 'string' ? { record: read<T>(known), fresh: false } : { record, fresh: true }
  }

  /**
   * For what WeChat certainly did not take, so that its number can be used for another try. The record stays where
   * another call has come for the same meanwhile: that one may be taken.
   */
  async forget(record: T): Promise<void> {
    await runScript(this.#redis, FORGET, this.#keysOf(record), [write(record)])
  }

  async find(mchid: string, number: string): Promise<T | undefined> {
    const [key] = this.#kind.keysOf(this.#keys, mchid, number)
    const known = await this.#redis.get(key)
    return known === null ? undefined : read<T>(known)
  }

  /**
   * Notes a state, and answers the one that stands. Where nothing was recorded, nothing is held, and the state is right
   * as it is given.
   */
  async advance(mchid: string, number: string, state: State): Promise<State> {
    const places = this.#kind.keysOf(this.#keys, mchid, number)
    return (await runScript(this.#redis, ADVANCE, places, [state, this.#kind.ranks[state]])) as State
  }

  /** The state that stands; undefined where none was noted. */
  async stateOf(mchid: string, number: string): Promise<State | undefined> {
    const [, key] = this.#kind.keysOf(this.#keys, mchid, number)
    const held = (await this.#redis.get(key))?.slice(1)
    return held !== undefined && Object.hasOwn(this.#kind.ranks, held) ? (held as State) : undefined
  }
}

/**
 * WeChat closes an unpaid order by itself after seven days; one that may be paid for longer at its own end, which
 * WeChat cuts (docs/wechat/pay.md B9).
 */
const ORDER_LIFE_MS = 7 * 86_400_000
const LONGEST_ORDER_LIFE_MS = 90 * 86_400_000

/** Until when an order may be paid, in milliseconds since 1970. */
export function endMsOf({ createdAt, timeExpire }: Pick<OrderRecord, 'createdAt' | 'timeExpire'>): number {
  const startMs = createdAt * 1000
  if (timeExpire === undefined) return startMs + ORDER_LIFE_MS
  return Math.min(Date.parse(timeExpire), startMs + LONGEST_ORDER_LIFE_MS)
}

const ORDER: Kind<OrderRecord, OrderState> = {
  keysOf: (keys, mchid, outTradeNo) => [keys.order(mchid, outTradeNo), keys.orderState(mchid, outTradeNo)],
  numberOf: ({ outTradeNo }) => outTradeNo,
  /** Paid comes after closed: what was paid in the same moment is paid, and somebody has to deliver or refund. */
  ranks: { NOTPAY: 0, USERPAYING: 0, PAYERROR: 0, CLOSED: 1, REVOKED: 1, SUCCESS: 2, REFUND: 3 },
  /** An order of long life is known as long after its end as others. */
  lifeSeconds(order) {
    const longerMs = endMsOf(order) - (order.createdAt * 1000 + ORDER_LIFE_MS)
    return LIFE_SECONDS + Math.max(0, Math.ceil(longerMs / 1000))
  }
}

const REFUND: Kind<RefundRecord, RefundState> = {
  keysOf: (keys, mchid, outRefundNo) => [keys.refund(mchid, outRefundNo), keys.refundState(mchid, outRefundNo)],
  numberOf: ({ outRefundNo }) => outRefundNo,
  /** The final ones never change. */
  ranks: { PROCESSING: 0, ABNORMAL: 1, SUCCESS: 2, CLOSED: 2 },
  lifeSeconds: () => LIFE_SECONDS
}

export class Orders extends Records<OrderRecord, OrderState> {
  constructor(redis: Redis, keys: Keys) {
    super(redis, keys, ORDER)
  }
}

export class RefundRecords extends Records<RefundRecord, RefundState> {
  constructor(redis: Redis, keys: Keys) {
    super(redis, keys, REFUND)
  }
}

/** Everything but when it was asked for. */
function sameContent<T extends Made>(one: T, other: T): boolean {
  const [a, b] = [one, other].map(({ createdAt: _createdAt, ...content }) => Object.entries(content).sort())
  return JSON.stringify(a) === JSON.stringify(b)
}

/**
 * Whether the same order is meant, by the same api: everything that WeChat would refuse to see changed under the same
 * number (docs/wechat/pay.md A3).
 */
export const sameOrder = (one: OrderRecord, other: OrderRecord): boolean => sameContent(one, other)

/** Whether the same refund is meant, whichever api is asked for it. */
export const sameRefund = (one: RefundRecord, other: RefundRecord): boolean =>
  sameContent({ ...one, api: other.api }, other)
