/**
 * What was recorded and how its delivery went, for the merchant's backend: lists, one event, and delivery once more.
 */
import { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { eventKeys } from '../redis/keys.ts'
import { cursorOf, inOrder, type PlacedPage, pageOfPlaces, placeOf } from '../redis/places.ts'
import { isRedisAway } from '../redis/trouble.ts'
import { createJobReader, type DeliveryState, type EventDetail, type EventSummary } from './job-reader.ts'
import { type LazyQueue, QUEUE_NAME } from './open-queue.ts'
import { DELIVERED_LIFE_SECONDS, IDENTITY_LIFE_MS, MOST_DELIVERED_KEPT } from './queue.ts'
import { createWaitingIndex } from './waiting.ts'

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
  /** Absent on the last page. */
  next?: string
}

export interface RecordedEvents {
  list(query: EventQuery): Promise<EventPage>
  /** By webhook-id. Throws NOT_FOUND. */
  find(id: string): Promise<EventDetail>
  /** Delivers at once, with all its tries before it where it had ended. Under the same webhook-id. Throws NOT_FOUND. */
  redeliver(id: string): Promise<void>
}

const STATES = ['waiting', 'delivered', 'failed'] as const
/** What may stand in a webhook-id of ours; nothing of it means anything to a search by pattern. */
const EVENT_ID = /^[\w-]{1,128}$/
const SCAN_COUNT = 1000
/** The clocks of instances may differ by so much. */
const CLOCKS_MS = 3_600_000
/** An event may go on between the look at it and the hand on it. */
const REDELIVERY_TRIES = 3

/** The queue stays the caller's, and the connection. */
export function createRecordedEvents(redis: Redis, prefix: string, { open }: Pick<LazyQueue, 'open'>): RecordedEvents {
  const keys = eventKeys(prefix, QUEUE_NAME)
  const index = createWaitingIndex(redis, prefix)
  const jobs = createJobReader(redis, prefix)

  /** What the index of waiting events holds in vain is forgotten on the way. */
  async function describe(state: DeliveryState, jobIds: string[]): Promise<(EventSummary | undefined)[]> {
    const found = await Promise.all(jobIds.map((jobId) => jobs.summary(jobId)))
    const rightful = found.map((event) => (event?.state === state ? event : undefined))
    if (state === 'waiting') await Promise.all(jobIds.map((id, at) => rightful[at] ?? index.tidy(id)))
    return rightful
  }

  function pageIn(state: DeliveryState, { limit: count, cursor }: EventQuery): Promise<PlacedPage<EventSummary>> {
    const after = cursor === undefined ? undefined : placeOf(cursor)
    const lowest = state === 'delivered' ? Date.now() - DELIVERED_LIFE_SECONDS * 1000 : 0
    return pageOfPlaces(redis, keys[state], { after, count, lowest, describe: (ids) => describe(state, ids) })
  }

  /** Its identity is known for 32 days; after that it is looked for among what never ended well. */
  async function jobIdOf(id: string): Promise<string | undefined> {
    if (!EVENT_ID.test(id)) return undefined
    const queue = await open()
    const known = await queue.getDeduplicationJobId(id)
    return known ?? (await search(keys.failed, id)) ?? (await searchWaiting(id))
  }

  /** Only where something waits that is so old that its identity is forgotten. */
  async function searchWaiting(id: string): Promise<string | undefined> {
    const old = await redis.zcount(keys.waiting, '-inf', Date.now() - IDENTITY_LIFE_MS + CLOCKS_MS)
    return old > 0 ? search(keys.waiting, id) : undefined
  }

  async function search(key: string, id: string): Promise<string | undefined> {
    let cursor = '0'
    do {
      const [next, found] = await redis.zscan(key, cursor, 'MATCH', `${id}.*`, 'COUNT', SCAN_COUNT)
      if (found[0] !== undefined) return found[0]
      cursor = next
    } while (cursor !== '0')
    return undefined
  }

  /** False where it has gone on meanwhile. */
  async function deliverAgain(jobId: string): Promise<boolean> {
    const job = await Job.fromId(await open(), jobId)
    if (job === undefined) throw unknown()
    const state = await job.getState()
    const restart = { resetAttemptsMade: true, resetAttemptsStarted: true }
    try {
      if (state === 'delayed') await job.promote()
      if (state !== 'failed' && state !== 'completed') return true
      await index.add(jobId, job.timestamp)
      await job.retry(state, restart)
      return true
    } catch (error) {
      if (isRedisAway(error)) throw error
      return false
    }
  }

  return {
    async list(query) {
      const states = query.state === undefined ? STATES : [query.state]
      return merge(await Promise.all(states.map((state) => pageIn(state, query))), query.limit)
    },
    async find(id) {
      const jobId = await jobIdOf(id)
      const event = jobId === undefined ? undefined : await jobs.detail(jobId)
      if (event === undefined) throw unknown()
      return event
    },
    async redeliver(id) {
      const jobId = await jobIdOf(id)
      if (jobId === undefined) throw unknown()
      for (let left = REDELIVERY_TRIES; left > 0; left -= 1) if (await deliverAgain(jobId)) return
      throw new Error('the event was never where it had just been')
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
function merge(pages: PlacedPage<EventSummary>[], limit: number): EventPage {
  const all = pages.flatMap(({ items }) => items).sort((one, other) => inOrder(one.place, other.place))
  const [stop] = pages.flatMap((page) => page.stop ?? []).sort(inOrder)
  const reached = stop === undefined ? all : all.filter(({ place }) => inOrder(place, stop) <= 0)
  const shown = reached.slice(0, limit)
  const end = reached.length > limit ? shown.at(-1)?.place : stop
  return { items: shown.map(({ item }) => item), ...(end !== undefined && { next: cursorOf(end) }) }
}
