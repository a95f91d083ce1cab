/**
 * Which events are not delivered yet, by when they were recorded: BullMQ keeps them in three places, each in an order
 * of its own. A worker ends jobs without it, so an entry may be stale; it is then seen by its job and forgotten.
 */
import type { Redis } from 'ioredis'
import { type EventKeys, eventKeys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { QUEUE_NAME } from './model.ts'

/** How long an entry may be there before its job. */
const GRACE_MS = 60_000

/** KEYS index, job; ARGV job id, the time before which a job must be there. */
const TIDY = defineScript(
  2,
  `local recordedAt = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not recordedAt then return 0 end
local isThere = redis.call('EXISTS', KEYS[2]) == 1
if isThere and redis.call('HEXISTS', KEYS[2], 'finishedOn') == 0 then return 0 end
if not isThere and tonumber(recordedAt) > tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])`
)

export class PendingIndex {
  readonly #redis: Redis
  readonly #keys: EventKeys

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis
    this.#keys = eventKeys(prefix, QUEUE_NAME)
  }

  add(jobId: string, recordedAtMs: number): Promise<unknown> {
    return this.#redis.zadd(this.#keys.pending, recordedAtMs, jobId)
  }

  /** Forgets the entry where its job has ended, or is not there though it is time. */
  tidy(jobId: string): Promise<unknown> {
    const { pending, job } = this.#keys
    return runScript(this.#redis, TIDY, [pending, job(jobId)], [jobId, Date.now() - GRACE_MS])
  }
}
