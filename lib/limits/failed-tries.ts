/**
 * How often data of a user did not open with the session_keys that are held. Who could try without end could change
 * data piece by piece until it opens, so that tries end early, whatever other limits are set.
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import { countIn } from './windows.ts'

const MOST_FAILED_TRIES = 30
const WINDOW_MS = 600_000

/** A person, as one app knows them. */
interface User {
  appid: string
  openid: string
}

export interface FailedTries {
  /**
   * Before data is opened. `failed` is how many tries failed so far, which is read along with the session_keys. Asks
   * Redis only where they are too many. Throws RATE_LIMITED, so that what would open tells no more than what would not.
   */
  allow(user: User, failed: number): Promise<void>
  /** Counts one that failed. Throws RATE_LIMITED where it was one too many: others came at the same time. */
  count(user: User): Promise<void>
}

export function createFailedTries({ redis, keys }: { redis: Redis; keys: Keys }): FailedTries {
  return {
    async allow({ appid, openid }, failed) {
      if (failed < MOST_FAILED_TRIES) return
      const leftMs = await redis.pttl(keys.failedTries(appid, openid))
      if (leftMs > 0) throw refusal(leftMs)
    },

    async count({ appid, openid }) {
      const { count, leftMs } = await countIn(redis, keys.failedTries(appid, openid), WINDOW_MS)
      if (count > MOST_FAILED_TRIES) throw refusal(leftMs)
    }
  }
}

const refusal = (leftMs: number) =>
  new ServiceError('RATE_LIMITED', {
    message: 'Too much data of this user did not open; after the time in Retry-After log in and obtain the data again',
    retryAfterSeconds: Math.ceil(leftMs / 1000)
  })
