/**
 * What each query of plain mode was used for: its signature covers the query alone, so who saw one could send any body
 * with it.
 */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { contentHash } from '../util/bytes.ts'
import { PLAIN_XPAY_SECONDS } from './open.ts'

/** What the query of a URL check is good for, as often as the console asks. */
export const URL_CHECK = 'check'

/** As long as a plain push of any kind may be repeated, twice over: its timestamp may lie ahead as well. */
const LIFE_SECONDS = 2 * PLAIN_XPAY_SECONDS

/**
 * KEYS[1] the query. ARGV[1] what it is used for, [2] life in seconds.
 * Returns what it was used for first.
 */
const BIND = defineScript(
  1,
  `
  local known = redis.call('GET', KEYS[1])
  if known then return known end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return ARGV[1]
  `
)

export class PushQueries {
  readonly #redis: Redis
  readonly #keys: Keys

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis
    this.#keys = keys
  }

  /**
   * Whether this signature comes for the first time, or for the same use again: a message, by its hash, or `URL_CHECK`.
   * Throws where Redis is away.
   */
  async bind(appid: string, signature: string, use: string): Promise<boolean> {
    const place = this.#keys.pushQuery(appid, contentHash(signature))
    return (await runScript(this.#redis, BIND, [place], [use, LIFE_SECONDS])) === use
  }
}
