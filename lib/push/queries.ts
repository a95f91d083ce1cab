/** Which message each plain push came with: its signature covers the query alone, so who saw one could send any body with it. */
import { hash } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { PLAIN_XPAY_SECONDS } from './open.ts'

export interface PushQueries {
  /** Whether this signature comes for the first time, or with the same message again. Throws where Redis is away. */
  bind(appid: string, signature: string, contentHash: string): Promise<boolean>
}

/** As long as a plain push of any kind may be repeated, twice over: its timestamp may lie ahead as well. */
const LIFE_SECONDS = 2 * PLAIN_XPAY_SECONDS

/**
 * KEYS[1] the query. ARGV[1] hash of the message, [2] life in seconds.
 * Returns the hash that the query belongs to.
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

export function createPushQueries(redis: Redis, keys: Keys): PushQueries {
  return {
    async bind(appid, signature, contentHash) {
      const place = keys.pushQuery(appid, hash('sha256', signature).slice(0, 32))
      return (await runScript(redis, BIND, [place], [contentHash, LIFE_SECONDS])) === contentHash
    }
  }
}
