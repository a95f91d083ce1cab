/**
 * How often data of a user did not open with the session_keys that are held. Who could try without end could change
 * data piece by piece until it opens, so that tries end early, whatever other limits are set.
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import { unlessWrongType } from '../redis/wrong-type.ts'
import { countIn } from './windows.ts'

const MOST_FAILED_TRIES = 30
const WINDOW_MS = 600_000
/** Users whose tries failed here, kept in memory: some hundred bytes each. */
const MOST_USERS_SEEN = 10_000

/** A person, as one app knows them. */
interface User {
  appid: string
  openid: string
}

export interface Try<T> {
  user: User
  /** How many failed so far, which is read along with the session_keys; long ago, where the body came late. */
  failed: number
  open(): T
  /** Whether what `open` throws is a try that failed. */
  isFailure(error: unknown): boolean
}

export interface FailedTries {
  /**
   * Answers or throws what `open` does. A failure is counted before it is told. Throws RATE_LIMITED where too many
   * failed: then nothing is opened, so that what would open tells no more than what would not. Asks Redis only then,
   * and to count: what fails elsewhere at the same moment is seen with the next failure.
   */
  attempt<T>(one: Try<T>): Promise<T>
}

/** What this instance saw of one user. */
interface Seen {
  /** As Redis told it last. */
  count: number
  /** Failures that Redis has not confirmed yet. */
  underWay: number
}

export function createFailedTries({ redis, keys }: { redis: Redis; keys: Keys }): FailedTries {
  const seen = new Map<string, Seen>()

  /** The oldest are forgotten first; Redis knows them. */
  function remember(place: string, held: Seen): void {
    seen.delete(place)
    seen.set(place, held)
    const [oldest] = seen.keys()
    if (seen.size > MOST_USERS_SEEN && oldest !== undefined) seen.delete(oldest)
  }

  /** Asks Redis how many failed; answers what is left of the ten minutes (ms). */
  async function lookAgain(place: string, held: Seen): Promise<number> {
    remember(place, held)
    const text = unlessWrongType(redis.get(place), () => null)
    const [count, leftMs] = await Promise.all([text, redis.pttl(place)])
    held.count = leftMs > 0 ? Number(count) || 0 : 0
    return leftMs > 0 ? leftMs : WINDOW_MS
  }

  async function countOne(place: string, held: Seen): Promise<void> {
    held.underWay += 1
    remember(place, held)
    try {
      const { count, leftMs } = await countIn(redis, place, WINDOW_MS)
      held.count = count
      if (count > MOST_FAILED_TRIES) throw refusal(leftMs)
    } finally {
      held.underWay -= 1
    }
  }

  return {
    async attempt({ user: { appid, openid }, failed, open, isFailure }) {
      const place = keys.failedTries(appid, openid)
      const held = seen.get(place) ?? { count: 0, underWay: 0 }
      if (Math.max(failed, held.count) + held.underWay >= MOST_FAILED_TRIES) {
        const leftMs = await lookAgain(place, held)
        if (held.count + held.underWay >= MOST_FAILED_TRIES) throw refusal(leftMs)
      }
      // From the last look at the count to its change nothing is waited for: others would pass in between.
      try {
        return open()
      } catch (error) {
        if (isFailure(error)) await countOne(place, held)
        throw error
      }
    }
  }
}

const refusal = (leftMs: number) =>
  new ServiceError('RATE_LIMITED', {
    message: 'Too much data of this user did not open; after the time in Retry-After log in and obtain the data again',
    retryAfterSeconds: Math.ceil(leftMs / 1000)
  })
