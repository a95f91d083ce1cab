/** Events wait in a BullMQ queue: recorded once by identity, delivered by any worker, kept when they fail. */
import { hash, randomBytes } from 'node:crypto'
import type { JobsOptions, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Durability } from '../redis/durability.ts'
import type { LazyQueue } from '../redis/queue.ts'
import {
  DELIVERED_LIFE_SECONDS,
  type Event,
  IDENTITY_LIFE_MS,
  MOST_DELIVERED_KEPT,
  type QueuedEvent,
  TRIES
} from './model.ts'
import { PendingIndex } from './pending.ts'

/** BullMQ's priorities; the first is also that of a job that names none. */
const FIRST = 0
const AFTER_ALL_ELSE = 1

/** `conflict`: this identity was recorded with other content. */
export type RecordOutcome = 'recorded' | 'duplicate' | 'conflict'

/** How many events there are in each state. `active`: on their way to the receiver; `delayed`: to be tried again. */
export type EventCounts = Record<'waiting' | 'delayed' | 'active' | 'failed', number>

export interface EventRecorderOptions {
  /** The connection stays the caller's, and the queue. */
  redis: Redis
  prefix: string
  queue: LazyQueue<QueuedEvent>
  /** Where an event has to be on disk before it counts as recorded. */
  durability: Durability | undefined
}

export class EventRecorder {
  readonly #queue: LazyQueue<QueuedEvent>
  readonly #durability: Durability | undefined
  readonly #pending: PendingIndex

  constructor({ redis, prefix, queue, durability }: EventRecorderOptions) {
    this.#queue = queue
    this.#durability = durability
    this.#pending = new PendingIndex(redis, prefix)
  }

  /**
   * One atomic step: seen before, or stored. When it resolves, Redis holds the event, on disk where that was asked for;
   * when it throws, nobody knows, and the sender has to come again.
   */
  async record(event: Event): Promise<RecordOutcome> {
    const queue = await this.#queue.open()
    const stem = stemOf(event.id, event.content)
    const formerStem = stemOf(event.id, event.formerContent ?? event.content)
    const jobId = stem + randomBytes(3).toString('hex')
    const confirm = await this.#durability?.begin()
    const held = await this.#add(queue, jobId, event)
    await confirm?.()
    if (held === jobId) return 'recorded'
    return held.startsWith(stem) || held.startsWith(formerStem) ? 'duplicate' : 'conflict'
  }

  /** Of all instances together. Fails where Redis is away. */
  async counts(): Promise<EventCounts> {
    const queue = await this.#queue.open()
    const counts = await queue.getJobCounts('waiting', 'prioritized', 'delayed', 'active', 'failed')
    const { waiting = 0, prioritized = 0, delayed = 0, active = 0, failed = 0 } = counts
    return { waiting: waiting + prioritized, delayed, active, failed }
  }

  /**
   * Both in one round trip. The entry of a duplicate is of nobody, so it goes; that the index knows it is not what
   * success says.
   */
  async #add(queue: Queue<QueuedEvent>, jobId: string, event: Event): Promise<string> {
    const { id, type, timestamp, data, lowPriority = false } = event
    const body = JSON.stringify({ type, timestamp, data })
    const at = Date.now()
    const deduplication = { id, ttl: IDENTITY_LIFE_MS }
    const priority = lowPriority ? AFTER_ALL_ELSE : FIRST
    const added = queue.add(type, { id, body }, { ...jobOptions, timestamp: at, jobId, deduplication, priority })
    const [job] = await Promise.all([added, this.#pending.add(jobId, at).catch(() => undefined)])
    if (job.id !== jobId) void this.#pending.remove(jobId).catch(() => undefined)
    return job.id ?? ''
  }
}

/** What stands in front of the name of each job of this event. */
const stemOf = (id: string, content: string): string => `${id}.${hash('sha256', content).slice(0, 8)}.`

const jobOptions: JobsOptions = {
  attempts: TRIES,
  backoff: { type: 'custom' },
  removeOnComplete: { age: DELIVERED_LIFE_SECONDS, count: MOST_DELIVERED_KEPT },
  removeOnFail: false,
  /** A stack of ours for each failed try tells nobody anything, and would triple what waits. */
  stackTraceLimit: 0
}
