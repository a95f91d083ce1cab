/** A BullMQ queue, opened when it is first needed and Redis is there. */
import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { loadBullMQ } from './bullmq.ts'

/** BullMQ notes each step of each job in a stream that nobody here reads. */
export const MOST_PROGRESS_NOTES = 100

export class LazyQueue<T> {
  readonly #redis: Redis
  readonly #prefix: string
  readonly #name: string
  #opened: Promise<Queue<T>> | undefined

  /** The connection stays the caller's. */
  constructor(redis: Redis, prefix: string, name: string) {
    this.#redis = redis
    this.#prefix = prefix
    this.#name = name
  }

  /** Fails where Redis is away; the next call tries again. */
  open(): Promise<Queue<T>> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }

  async close(): Promise<void> {
    await (await this.#opened?.catch(() => undefined))?.close()
  }

  /** Only on a connection that is ready: a queue opened without one waits for it for ever, or is broken for good. */
  async #open(): Promise<Queue<T>> {
    const { Queue } = await loadBullMQ()
    const redis = this.#redis
    if (redis.status !== 'ready') throw new Error('Connection is closed.')
    const queue = new Queue<T>(this.#name, {
      connection: redis,
      prefix: this.#prefix,
      skipWaitingForReady: true,
      streams: { events: { maxLen: MOST_PROGRESS_NOTES } }
    })
    queue.on('error', () => {
      // The connection's own listener reports it; every command fails by itself.
    })
    try {
      await queue.waitUntilReady()
      return queue
    } catch (error) {
      // Otherwise its listeners would stay on the connection, once for each try.
      await queue.close().catch(() => undefined)
      throw error
    }
  }
}
