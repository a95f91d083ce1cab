/** Events, how they lie in their queue, and for how long. */

/** What BullMQ calls the queue. */
export const QUEUE_NAME = 'webhook'

/** What lies in the queue: the very bytes that are signed and posted. */
export interface QueuedEvent {
  id: string
  body: string
}

export interface Event {
  /** The webhook-id: WeChat's own identity of what happened, the same at every try. */
  id: string
  type: string
  /** When it happened, ISO 8601 UTC. */
  timestamp: string
  data: object
  /** What must agree when the same identity comes again, e.g. the amount. */
  content: string
  /** What the version before wrote as the content of this event: it agrees too. */
  formerContent?: string
  /** Everything else that is to be delivered goes first. */
  lowPriority?: boolean
}

/** Longer than WeChat ever repeats a callback (a day), and than the time in which an event can still be redelivered. */
export const IDENTITY_LIFE_MS = 32 * 86_400_000
export const DELIVERED_LIFE_SECONDS = 48 * 3600
/** Counts all types together; so many take about half a gigabyte of Redis. */
export const MOST_DELIVERED_KEPT = 200_000

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** The contract's pauses between tries; the last one repeats. Twenty tries reach a little over three days. */
const PAUSES_MS = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR]
export const TRIES = 20

/** Jittered by up to a tenth, so that what failed together does not come back together. `random` in [0, 1). */
export function pauseMs(triesMade: number, random: number): number {
  const pause = PAUSES_MS[Math.min(triesMade, PAUSES_MS.length) - 1] ?? 5 * SECOND
  return Math.round(pause * (1 + 0.1 * random))
}
