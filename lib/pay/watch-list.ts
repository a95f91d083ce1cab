/**
 * Open orders and refunds of ours, and when WeChat is to be asked about each: one sorted set for all instances. Who takes an
 * entry has it for a while only, so that what a dying instance held is taken by another.
 */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'

export interface Watched {
  kind: 'order' | 'refund'
  mchid: string
  /** outTradeNo or outRefundNo. */
  number: string
}

export interface WatchList {
  /** Asks for it at `dueMs`, where nobody is to ask for it already. Times are milliseconds since 1970. */
  add(entry: Watched, dueMs: number): Promise<void>
  /** Nobody need ask any more. */
  remove(entry: Watched): Promise<void>
  /** Asks again at `dueMs`, unless it was removed meanwhile. */
  postpone(entry: Watched, dueMs: number): Promise<void>
  /** Takes what is due, at most `most`, until `untilMs`. `nextMs`: when the first of the others is due. */
  take(nowMs: number, untilMs: number, most: number): Promise<{ entries: Watched[]; nextMs: number | undefined }>
}

/** KEYS list · ARGV now, until, most: the entries that were taken, then when the first of the others is due, or nothing. */
const TAKE = defineScript(
  1,
  `
    local taken = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
    for _, entry in ipairs(taken) do redis.call('ZADD', KEYS[1], ARGV[2], entry) end
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return { taken, first[2] or false }
  `
)

/** No number holds a blank. */
const write = ({ kind, mchid, number }: Watched): string => `${kind} ${mchid} ${number}`

function read(text: string): Watched {
  const [kind, mchid = '', number = ''] = text.split(' ')
  return { kind: kind === 'refund' ? 'refund' : 'order', mchid, number }
}

/** Where nobody asks. */
export const NO_WATCH_LIST: WatchList = {
  add: async () => undefined,
  remove: async () => undefined,
  postpone: async () => undefined,
  take: async () => ({ entries: [], nextMs: undefined })
}

export function createWatchList(redis: Redis, keys: Keys): WatchList {
  const key = keys.watched
  return {
    async add(entry, dueMs) {
      await redis.zadd(key, 'NX', dueMs, write(entry))
    },
    async remove(entry) {
      await redis.zrem(key, write(entry))
    },
    async postpone(entry, dueMs) {
      await redis.zadd(key, 'XX', dueMs, write(entry))
    },
    async take(nowMs, untilMs, most) {
      const answer = await runScript(redis, TAKE, [key], [nowMs, untilMs, most])
      const [taken, next] = answer as [string[], string | null]
      return { entries: taken.map(read), nextMs: next === null ? undefined : Number(next) }
    }
  }
}
