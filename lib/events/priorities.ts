/**
 * Which of the waiting events is posted first, in BullMQ's priorities: payments and refunds before messages, and of
 * each the first tries before all others, so that what fails holds back nothing new.
 */
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { type EventKeys, eventKeys } from '../redis/keys.ts'
import { QUEUE_NAME } from './model.ts'

/** The first is also that of a job that names none. The version before wrote 1 for a message. */
export const PRIORITY = { firstTry: 0, tried: 1, firstTryLow: 2, triedLow: 3 } as const

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
    const next = opts.priority ? PRIORITY.triedLow : PRIORITY.tried
    if (priority !== next) await this.#redis.hset(this.#keys.job(id), 'priority', next)
  }
}
