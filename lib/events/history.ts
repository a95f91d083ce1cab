/**
 * What was recorded and how its delivery went, for the merchant's backend: lists, one event, and delivery once more.
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { type EventKeys, eventKeys } from '../redis/keys.ts'
import { comparePositions, type MemberPage, readCursor, readPage, writeCursor } from '../redis/paging.ts'
import type { LazyQueue } from '../redis/queue.ts'
import { isRedisAway } from '../redis/trouble.ts'
import { type DeliveryState, type EventDetail, type EventSummary, JobReader } from './job-reader.ts'
import { DELIVERED_LIFE_SECONDS, IDENTITY_LIFE_MS, MOST_DELIVERED_KEPT, QUEUE_NAME, type QueuedEvent } from './model.ts'
import { PendingIndex } from './pending.ts'

export interface EventQuery {
  /** Absent: all of them. */
  state?: DeliveryState
  limit: number
  /** `next` of the page before. */
  cursor?: string
}

export interface EventPage {
  /** Newest first: what waits by when it was recorded, what ended by when it did. */
  items: EventSummary[]
  /** undefined on the last page. */
  next: string | undefined
}

const STATES = ['waiting', 'delivered', 'failed'] as const
/** What may stand in a webhook-id of ours; nothing of it means anything to a search by pattern. */
const EVENT_ID = /^[\w-]{1,128}$/
const SCAN_COUNT = 1000
/** The clocks of instances may differ by so much. */
const CLOCKS_MS = 3_600_000
/** An event may change between our read and our write. */
const REDELIVERY_TRIES = 3

export interface EventHistoryOptions {
  /** The connection stays the caller's, and the queue. */
  redis: Redis
  prefix: string
  queue: LazyQueue<QueuedEvent>
}

export class EventHistory {
  readonly #redis: Redis
  readonly #queue: LazyQueue<QueuedEvent>
  readonly #keys: EventKeys
  readonly #pending: PendingIndex
  readonly #jobs: JobReader

  constructor({ redis, prefix, queue }: EventHistoryOptions) {
    this.#redis = redis
    this.#queue = queue
    this.#keys = eventKeys(prefix, QUEUE_NAME)
    this.#pending = new PendingIndex(redis, prefix)
    this.#jobs = new JobReader(redis, prefix)
  }

  async list(query: EventQuery): Promise<EventPage> {
    const states = query.state === undefined ? STATES : [query.state]
    return merge(await Promise.all(states.map((state) => this.#pageIn(state, query))), query.limit)
  }

  /** By webhook-id. Throws NOT_FOUND. */
  async find(id: string): Promise<EventDetail> {
    const jobId = await this.#jobIdOf(id)
    const event = jobId === undefined ? undefined : await this.#jobs.detail(jobId)
    if (event === undefined) throw unknown()
    return event
  }

  /** Delivers at once, with all its tries before it where it had ended. Under the same webhook-id. Throws NOT_FOUND. */
  async redeliver(id: string): Promise<void> {
    const jobId = await this.#jobIdOf(id)
    if (jobId === undefined) throw unknown()
    for (let left = REDELIVERY_TRIES; left > 0; left -= 1) if (await this.#deliverAgain(jobId)) return
    throw new Error('the event was never where it had just been')
  }

  #pageIn(state: DeliveryState, { limit: count, cursor }: EventQuery): Promise<MemberPage<EventSummary>> {
    const { pending, delivered, failed } = this.#keys
    const key = { waiting: pending, delivered, failed }[state]
    const lowest = state === 'delivered' ? Date.now() - DELIVERED_LIFE_SECONDS * 1000 : 0
    const describe = (ids: string[]) => this.#describe(state, ids)
    return readPage(this.#redis, key, { after: readCursor(cursor), count, lowest, describe })
  }

  /** What the index of pending events holds in vain is forgotten on the way. */
  async #describe(state: DeliveryState, jobIds: string[]): Promise<(EventSummary | undefined)[]> {
    const found = await Promise.all(jobIds.map((jobId) => this.#jobs.summary(jobId)))
    const rightful = found.map((event) => (event?.state === state ? event : undefined))
    const others = jobIds.filter((_id, at) => rightful[at] === undefined)
    if (state === 'waiting' && others.length > 0) await this.#pending.tidy(others)
    return rightful
  }

  /** Its identity is known for 32 days; after that it is looked for among what never ended well. */
  async #jobIdOf(id: string): Promise<string | undefined> {
    if (!EVENT_ID.test(id)) return undefined
    const queue = await this.#queue.open()
    const known = await queue.getDeduplicationJobId(id)
    return known ?? (await this.#search(this.#keys.failed, id)) ?? (await this.#searchPending(id))
  }

  /** Only where something waits that is so old that its identity is forgotten. */
  async #searchPending(id: string): Promise<string | undefined> {
    const { pending } = this.#keys
    const old = await this.#redis.zcount(pending, '-inf', Date.now() - IDENTITY_LIFE_MS + CLOCKS_MS)
    return old > 0 ? this.#search(pending, id) : undefined
  }

  async #search(key: string, id: string): Promise<string | undefined> {
    let cursor = '0'
    do {
      const [next, found] = await this.#redis.zscan(key, cursor, 'MATCH', `${id}.*`, 'COUNT', SCAN_COUNT)
      if (found[0] !== undefined) return found[0]
      cursor = next
    } while (cursor !== '0')
    return undefined
  }

  /** False where it has gone on meanwhile. */
  async #deliverAgain(jobId: string): Promise<boolean> {
    const queue = await this.#queue.open()
    const job = await queue.getJob(jobId)
    if (job === undefined) throw unknown()
    const state = await job.getState()
    const restart = { resetAttemptsMade: true, resetAttemptsStarted: true }
    try {
      if (state === 'delayed') await job.promote()
      if (state !== 'failed' && state !== 'completed') return true
      await this.#pending.add(jobId, job.timestamp)
      await job.retry(state, restart)
      return true
    } catch (error) {
      if (isRedisAway(error)) throw error
      return false
    }
  }
}

const unknown = () =>
  new ServiceError('NOT_FOUND', {
    message:
      `No event is held under this id; delivered ones are held for ${DELIVERED_LIFE_SECONDS / 3600} hours, ` +
      `the last ${MOST_DELIVERED_KEPT} of them`
  })

/** Several lists in one order. Where one of them stopped, the others may not go past it. */
function merge(pages: MemberPage<EventSummary>[], limit: number): EventPage {
  const all = pages.flatMap(({ items }) => items).sort((one, other) => comparePositions(one.position, other.position))
  const [stop] = pages.flatMap((page) => page.stop ?? []).sort(comparePositions)
  const reached = stop === undefined ? all : all.filter(({ position }) => comparePositions(position, stop) <= 0)
  const shown = reached.slice(0, limit)
  const end = reached.length > limit ? shown.at(-1)?.position : stop
  return { items: shown.map(({ item }) => item), next: end && writeCursor(end) }
}
