/**
 * Which of the waiting events is posted first, in BullMQ's priorities: payments and refunds before messages, and of
 * each the first tries before all others, so that what fails holds back nothing new.
 */
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { type EventKeys, eventKeys } from '../redis/keys.ts'
import { QUEUE_NAME } from './model.ts'

/** The first is also that of a job that names none. The version before wrote 1 for a message. */
const FIRST_TRY = 0
const TRIED = 1
const FIRST_TRY_LOW = 2
const TRIED_LOW = 3

export const firstPriority = (lowPriority: boolean): number => (lowPriority ? FIRST_TRY_LOW : FIRST_TRY)

export class RetryOrder {
  readonly #redis: Redis
  readonly #keys: EventKeys

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis
    this.#keys = eventKeys(prefix, QUEUE_NAME)
  }

  /**
   * Notes that a job was tried, while it is still locked: BullMQ reads its place in the queue where the pause ends.
   * (`job.changePriority` would search all that waits for it.)
   */
  async tried({ id = '', priority, opts }: Pick<Job, 'id' | 'priority' | 'opts'>): Promise<void> {
    const next = opts.priority ? TRIED_LOW : TRIED
    if (priority !== next) await this.#redis.hset(this.#keys.job(id), 'priority', next)
  }
}
