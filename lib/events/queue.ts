/** Events wait in a BullMQ queue: recorded once by identity, delivered by any worker, kept when they fail. */
import { hash, randomBytes } from 'node:crypto'
import { type JobsOptions, Queue } from 'bullmq'
import type { Redis } from 'ioredis'

export const QUEUE_NAME = 'webhook'
/** Longer than WeChat ever repeats a callback (a day), and than the time in which an event can still be redelivered. */
const IDENTITY_LIFE_MS = 32 * 86_400_000
const DELIVERED_LIFE_SECONDS = 48 * 3600
const MOST_DELIVERED_KEPT = 10_000
/** BullMQ notes each step of each job in a stream that nobody here reads. */
const MOST_PROGRESS_NOTES = 100

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** The contract's pauses between tries; the last one repeats. Twenty tries reach a little over three days. */
const PAUSES_MS = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR]
export const TRIES = 20

export interface Event {
  /** The webhook-id: WeChat's own identity of what happened, the same at every try. */
  id: string
  type: string
  /** When it happened, ISO 8601 UTC. */
  timestamp: string
  data: object
  /** What must agree when the same identity comes again, e.g. the amount. */
  essence: string
}

/** What lies in the queue: the very bytes that are signed and posted. */
export interface QueuedEvent {
  id: string
  body: string
}

export type Recorded = 'recorded' | 'duplicate' | 'conflict'

/** How many events there are in each state. `active`: on their way to the receiver; `delayed`: to be tried again. */
export type EventCounts = Record<(typeof STATES)[number], number>

const STATES = ['waiting', 'delayed', 'active', 'failed'] as const

export interface EventRecorder {
  /**
   * One atomic step: seen before, or stored. `conflict`: this identity was recorded with another essence.
   * When it resolves, Redis holds the event; when it throws, nobody knows, and the sender has to come again.
   */
  record(event: Event): Promise<Recorded>
  /** Of all instances together. Fails where Redis is away. */
  counts(): Promise<EventCounts>
  close(): Promise<void>
}

/** The connection stays the caller's. */
export function createEventRecorder(redis: Redis, prefix: string): EventRecorder {
  let opened: Promise<Queue<QueuedEvent>> | undefined

  function open(): Promise<Queue<QueuedEvent>> {
    opened ??= openQueue(redis, prefix).catch((error: unknown) => {
      opened = undefined
      throw error
    })
    return opened
  }

  return {
    async record({ id, type, timestamp, data, essence }) {
      const queue = await open()
      const stem = `${id}.${hash('sha256', essence).slice(0, 8)}.`
      const jobId = stem + randomBytes(3).toString('hex')
      const body = JSON.stringify({ type, timestamp, data })
      const job = await queue.add(
        type,
        { id, body },
        { ...jobOptions, jobId, deduplication: { id, ttl: IDENTITY_LIFE_MS } }
      )
      if (job.id === jobId) return 'recorded'
      return job.id?.startsWith(stem) ? 'duplicate' : 'conflict'
    },
    async counts() {
      const queue = await open()
      return (await queue.getJobCounts(...STATES)) as EventCounts
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close()
    }
  }
}

/** Only on a connection that is ready: a queue opened without one waits for it for ever, or is broken for good. */
async function openQueue(redis: Redis, prefix: string): Promise<Queue<QueuedEvent>> {
  if (redis.status !== 'ready') throw new Error('Connection is closed.')
  const queue = new Queue<QueuedEvent>(QUEUE_NAME, {
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

const jobOptions: JobsOptions = {
  attempts: TRIES,
  backoff: { type: 'custom' },
  removeOnComplete: { age: DELIVERED_LIFE_SECONDS, count: MOST_DELIVERED_KEPT },
  removeOnFail: false,
  /** A stack of ours for each failed try tells nobody anything, and would triple what waits. */
  stackTraceLimit: 0
}

/** Jittered by up to a tenth, so that what failed together does not come back together. `random` in [0, 1). */
export function pauseMs(triesMade: number, random: number): number {
  const pause = PAUSES_MS[Math.min(triesMade, PAUSES_MS.length) - 1] ?? 5 * SECOND
  return Math.round(pause * (1 + 0.1 * random))
}
