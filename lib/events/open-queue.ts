/** A BullMQ queue, such as the one that events lie in, opened when it is first needed and Redis is there. */
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'

export const QUEUE_NAME = 'webhook'
/** BullMQ notes each step of each job in a stream that nobody here reads. */
const MOST_PROGRESS_NOTES = 100

/** What lies in the queue: the very bytes that are signed and posted. */
export interface QueuedEvent {
  id: string
  body: string
}

export interface LazyQueue<T = QueuedEvent> {
  /** Fails where Redis is away; the next call tries again. */
  open(): Promise<Queue<T>>
  close(): Promise<void>
}

/** The connection stays the caller's. */
export function lazyQueue<T = QueuedEvent>(redis: Redis, prefix: string, name = QUEUE_NAME): LazyQueue<T> {
  let opened: Promise<Queue<T>> | undefined
  return {
    open() {
      opened ??= openQueue<T>(redis, prefix, name).catch((error: unknown) => {
        opened = undefined
        throw error
      })
      return opened
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close()
    }
  }
}

/** Only on a connection that is ready: a queue opened without one waits for it for ever, or is broken for good. */
async function openQueue<T>(redis: Redis, prefix: string, name: string): Promise<Queue<T>> {
  if (redis.status !== 'ready') throw new Error('Connection is closed.')
  const queue = new Queue<T>(name, {
    connection: redis,
    prefix,
    skipWaitingForReady: true,
    streams: { events: { maxLen: MOST_PROGRESS_NOTES } }
  })
  queue.on('error', () => {
    // The connection's own listener reports it; every command fails by itself.
  })
  try {
    await queue.waitUntilReady()
    // A pipeline begun before BullMQ defined its scripts does not know them, and would end the process (ioredis 6.0.0).
    // When this is answered none of those is left.
    await redis.ping()
    return queue
  } catch (error) {
    // Otherwise its listeners would stay on the connection, once for each try.
    await queue.close().catch(() => undefined)
    throw error
  }
}
