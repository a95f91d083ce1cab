/** Counting in fixed windows of time, in Redis, so that all instances count together. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'

export interface Window {
  /** This one included. */
  count: number
  /** Until counting begins anew. */
  leftMs: number
}

/**
 * KEYS window · ARGV its length (ms) · RETURN count, what is left of it (ms). What is no number, or the greatest one,
 * is counted anew.
 */
const COUNT = defineScript(
  1,
  `
    local count = redis.pcall('INCR', KEYS[1])
    if type(count) == 'table' then
      local has = function(words) return string.find(count.err, words, 1, true) end
      local isDamaged = has('WRONGTYPE') or has('not an integer') or has('overflow')
      if not isDamaged then error(count) end
      redis.call('SET', KEYS[1], 1)
      count = 1
    end
    local left = count > 1 and redis.call('PTTL', KEYS[1]) or -1
    if left < 0 then
      left = tonumber(ARGV[1])
      redis.call('PEXPIRE', KEYS[1], left)
    end
    return { count, left }
  `
)

/** Counts one more in the window at the Redis key `key`; the first opens it. */
export async function countIn(redis: Redis, key: string, windowMs: number): Promise<Window> {
  const [count, leftMs] = (await runScript(redis, COUNT, [key], [windowMs])) as [number, number]
  return { count, leftMs }
}

export class Windows {
  readonly #redis: Redis
  readonly #keys: Keys

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis
    this.#keys = keys
  }

  /** Counts one more under `name`; the first opens a window of `windowMs`. */
  count(name: string, windowMs: number): Promise<Window> {
    return countIn(this.#redis, this.#keys.window(name), windowMs)
  }
}
