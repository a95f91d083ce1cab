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
/** Redis does nothing else meanwhile. */
const MOST_TOGETHER = 64
/** How long entries may wait for others, to be looked at in one call. */
const GATHER_MS = 20

/** KEYS index, then jobs; ARGV the time before which a job must be there, then the ids of the jobs. */
const TIDY = defineScript(
  1,
  `local stale = {}
for n = 2, #ARGV do
  local recordedAt = redis.call('ZSCORE', KEYS[1], ARGV[n])
  local finishedOn = recordedAt and redis.call('HGET', KEYS[n], 'finishedOn')
  local isLate = recordedAt and tonumber(recordedAt) <= tonumber(ARGV[1])
  if finishedOn or isLate and redis.call('EXISTS', KEYS[n]) == 0 then stale[#stale + 1] = ARGV[n] end
end
if #stale > 0 then redis.call('ZREM', KEYS[1], unpack(stale)) end`
)

export class PendingIndex {
  readonly #redis: Redis
  readonly #keys: EventKeys
  #gathered: string[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis
    this.#keys = eventKeys(prefix, QUEUE_NAME)
  }

  add(jobId: string, recordedAtMs: number): Promise<unknown> {
    return this.#redis.zadd(this.#keys.pending, recordedAtMs, jobId)
  }

  /** Forgets the entries whose jobs have ended, or are not there though it is time. */
  tidy(jobIds: readonly string[]): Promise<unknown> {
    const { pending, job } = this.#keys
    const script = { ...TIDY, numberOfKeys: 1 + jobIds.length }
    return runScript(this.#redis, script, [pending, ...jobIds.map(job)], [Date.now() - GRACE_MS, ...jobIds])
  }

  /** As `tidy`, for an entry that may wait for others. Where it fails, whoever lists the entry forgets it. */
  tidySoon(jobId: string): void {
    this.#gathered.push(jobId)
    if (this.#gathered.length >= MOST_TOGETHER) void this.tidyGathered()
    else this.#timer ??= setTimeout(() => void this.tidyGathered(), GATHER_MS)
  }

  /** Never rejects. */
  async tidyGathered(): Promise<void> {
    const jobIds = this.#gathered
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#gathered = []
    if (jobIds.length > 0) await this.tidy(jobIds).catch(() => undefined)
  }
}
