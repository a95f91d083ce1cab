/** Events wait in a BullMQ queue: recorded once by identity, delivered by any worker, kept when they fail. */
import { hash, randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Durability } from '../redis/durability.ts'
import type { LazyQueue } from '../redis/queue.ts'
import { JobWriter } from './job-writer.ts'
import type { Event, QueuedEvent } from './model.ts'

/** `conflict`: this identity was recorded with other content. */
export type RecordOutcome = 'recorded' | 'duplicate' | 'conflict'

/** How many events there are in each state. `active`: on their way to the receiver; `delayed`: to be tried again. */
export type EventCounts = Record<'waiting' | 'delayed' | 'active' | 'failed', number>

export interface EventRecorderOptions {
  /** The connection stays the caller's, and the queue. */
  redis: Redis
  prefix: string
  queue: LazyQueue<QueuedEvent>
  /** undefined if an event counts as recorded before it is on disk. */
  durability: Durability | undefined
}

export class EventRecorder {
  readonly #queue: LazyQueue<QueuedEvent>
  readonly #durability: Durability | undefined
  readonly #jobs: JobWriter

  constructor({ redis, prefix, queue, durability }: EventRecorderOptions) {
    this.#queue = queue
    this.#durability = durability
    this.#jobs = new JobWriter(redis, prefix)
  }

  /**
   * One atomic step: seen before, or stored. When it resolves, Redis holds the event, on disk where that was asked for;
   * when it throws, nobody knows, and the sender has to come again.
   */
  async record(event: Event): Promise<RecordOutcome> {
    const { id, type, timestamp, data, content, formerContent = content, lowPriority = false } = event
    const stem = stemOf(id, content)
    const jobId = stem + randomBytes(3).toString('hex')
    const confirm = await this.#durability?.begin()
    const body = JSON.stringify({ type, timestamp, data })
    const held = await this.#jobs.add({ id: jobId, name: type, data: { id, body }, lowPriority })
    await confirm?.()
    if (held === jobId) return 'recorded'
    return held.startsWith(stem) || held.startsWith(stemOf(id, formerContent)) ? 'duplicate' : 'conflict'
  }

  /** Counts the events of all instances together. Fails if Redis is away. */
  async counts(): Promise<EventCounts> {
    const queue = await this.#queue.open()
    const counts = await queue.getJobCounts('waiting', 'prioritized', 'delayed', 'active', 'failed')
    const { waiting = 0, prioritized = 0, delayed = 0, active = 0, failed = 0 } = counts
    return { waiting: waiting + prioritized, delayed, active, failed }
  }
}

/** What stands in front of the name of each job of this event. */
const stemOf = (id: string, content: string): string => `${id}.${hash('sha256', content).slice(0, 8)}.`
