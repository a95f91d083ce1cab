/**
 * How often data of a user did not open with the session_keys that are held. A caller with endless tries could change
 * data piece by piece until it opens, so tries end early, whatever other limits are set.
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import { unlessWrongType } from '../redis/trouble.ts'
import { countIn } from './windows.ts'

const MOST_FAILED_TRIES = 30
const WINDOW_MS = 600_000
/** Users whose tries failed here, kept in memory: some hundred bytes each. */
const MOST_USERS_SEEN = 10_000

export interface Try<T> {
  user: { appid: string; openid: string }
  /** How many failed so far, which is read along with the session_keys; long ago, where the body came late. */
  failed: number
  open(): T
  /** Whether what `open` throws is a try that failed. */
  isFailure(error: unknown): boolean
}

/** What this instance saw of one user. */
interface Seen {
  /** As Redis answered last. */
  count: number
  /** Failures that Redis has not confirmed yet. */
  underWay: number
}

export class FailedTries {
  readonly #redis: Redis
  readonly #keys: Keys
  readonly #seen = new Map<string, Seen>()

  constructor({ redis, keys }: { redis: Redis; keys: Keys }) {
    this.#redis = redis
    this.#keys = keys
  }

  /**
   * Answers or throws what `open` does. A failure is counted before it is thrown. Throws RATE_LIMITED where too many
   * failed: then nothing is opened, so that good data is answered like bad. Asks Redis only then, and to count: what
   * fails on another instance at the same moment is seen with the next failure.
   */
  async attempt<T>({ user: { appid, openid }, failed, open, isFailure }: Try<T>): Promise<T> {
    const place = this.#keys.failedTries(appid, openid)
    const held = this.#seen.get(place) ?? { count: 0, underWay: 0 }
    if (Math.max(failed, held.count) + held.underWay >= MOST_FAILED_TRIES) {
      const leftMs = await this.#lookAgain(place, held)
      if (held.count + held.underWay >= MOST_FAILED_TRIES) throw tooManyTries(leftMs)
    }
    // Nothing is awaited between the last look at the count and its change: others would pass in between.
    try {
      return open()
    } catch (error) {
      if (isFailure(error)) await this.#countOne(place, held)
      throw error
    }
  }

  /** The oldest are forgotten first; Redis knows them. */
  #remember(place: string, held: Seen): void {
    const seen = this.#seen
    seen.delete(place)
    seen.set(place, held)
    const [oldest] = seen.keys()
    if (seen.size > MOST_USERS_SEEN && oldest !== undefined) seen.delete(oldest)
  }

  /** Asks Redis how many failed; answers what is left of the ten minutes (ms). */
  async #lookAgain(place: string, held: Seen): Promise<number> {
    this.#remember(place, held)
    const text = unlessWrongType(this.#redis.get(place), () => null)
    const [count, leftMs] = await Promise.all([text, this.#redis.pttl(place)])
    held.count = leftMs > 0 ? Number(count) || 0 : 0
    return leftMs > 0 ? leftMs : WINDOW_MS
  }

  async #countOne(place: string, held: Seen): Promise<void> {
    held.underWay += 1
    this.#remember(place, held)
    try {
      const { count, leftMs } = await countIn(this.#redis, place, WINDOW_MS)
      held.count = count
      if (count > MOST_FAILED_TRIES) throw tooManyTries(leftMs)
    } finally {
      held.underWay -= 1
    }
  }
}

const tooManyTries = (leftMs: number) =>
  new ServiceError('RATE_LIMITED', {
    message: 'Too much data of this user did not open; after the time in Retry-After log in and obtain the data again',
    retryAfterSeconds: Math.ceil(leftMs / 1000)
  })
