/** Events wait in a BullMQ queue: recorded once by identity, delivered by any worker, kept when they fail. */
import { hash, randomBytes } from 'node:crypto'
import type { JobsOptions, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Durability } from './durability.ts'
import { type LazyQueue, lazyQueue, type QueuedEvent } from './open-queue.ts'
import { createWaitingIndex } from './waiting.ts'

/** Longer than WeChat ever repeats a callback (a day), and than the time in which an event can still be redelivered. */
export const IDENTITY_LIFE_MS = 32 * 86_400_000
export const DELIVERED_LIFE_SECONDS = 48 * 3600
/** Of all types together: half a gigabyte of Redis or so. */
export const MOST_DELIVERED_KEPT = 200_000
/** BullMQ's priorities; the first is also that of a job that names none. */
const FIRST = 0
const AFTER_ALL_ELSE = 1

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
  /** What a version before wrote as the essence of this event: it agrees too. */
  formerEssence?: string
  /** It lets everything else that is to be delivered go first. */
  isPatient?: boolean
}

export type Recorded = 'recorded' | 'duplicate' | 'conflict'

/** How many events there are in each state. `active`: on their way to the receiver; `delayed`: to be tried again. */
export type EventCounts = Record<'waiting' | 'delayed' | 'active' | 'failed', number>

export interface EventRecorder {
  /**
   * One atomic step: seen before, or stored. `conflict`: this identity was recorded with another essence. When it
   * resolves, Redis holds the event, on disk where that was asked for; when it throws, nobody knows, and the sender has
   * to come again.
   */
  record(event: Event): Promise<Recorded>
  /** Of all instances together. Fails where Redis is away. */
  counts(): Promise<EventCounts>
  close(): Promise<void>
}

export interface EventRecorderOptions {
  queue?: LazyQueue
  /** Where an event has to be on disk before it counts as recorded. */
  durability?: Durability
}

/** The connection stays the caller's; the queue is closed along. */
export function createEventRecorder(
  redis: Redis,
  prefix: string,
  { queue: lazy = lazyQueue(redis, prefix), durability }: EventRecorderOptions = {}
): EventRecorder {
  const index = createWaitingIndex(redis, prefix)

  /**
   * Both in one round trip. The entry of a duplicate is of nobody, so it goes; that the index knows it is not what
   * success says.
   */
  async function add(queue: Queue<QueuedEvent>, jobId: string, event: Event): Promise<string> {
    const { id, type, timestamp, data, isPatient = false } = event
    const body = JSON.stringify({ type, timestamp, data })
    const at = Date.now()
    const deduplication = { id, ttl: IDENTITY_LIFE_MS }
    const priority = isPatient ? AFTER_ALL_ELSE : FIRST
    const added = queue.add(type, { id, body }, { ...jobOptions, timestamp: at, jobId, deduplication, priority })
    const [job] = await Promise.all([added, index.add(jobId, at).catch(() => undefined)])
    if (job.id !== jobId) void index.remove(jobId).catch(() => undefined)
    return job.id ?? ''
  }

  return {
    async record(event) {
      const queue = await lazy.open()
      const stem = stemOf(event.id, event.essence)
      const formerStem = stemOf(event.id, event.formerEssence ?? event.essence)
      const jobId = stem + randomBytes(3).toString('hex')
      const confirm = await durability?.begin()
      const held = await add(queue, jobId, event)
      await confirm?.()
      if (held === jobId) return 'recorded'
      return held.startsWith(stem) || held.startsWith(formerStem) ? 'duplicate' : 'conflict'
    },
    async counts() {
      const queue = await lazy.open()
      const counts = await queue.getJobCounts('waiting', 'prioritized', 'delayed', 'active', 'failed')
      const { waiting = 0, prioritized = 0, delayed = 0, active = 0, failed = 0 } = counts
      return { waiting: waiting + prioritized, delayed, active, failed }
    },
    close: () => lazy.close()
  }
}

/** What stands in front of the name of each job of this event. */
const stemOf = (id: string, essence: string): string => `${id}.${hash('sha256', essence).slice(0, 8)}.`

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
