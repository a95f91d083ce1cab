/** An event as the queue holds it, read as what became of it. */
import type { Redis } from 'ioredis'
import { type EventKeys, eventKeys } from '../redis/keys.ts'
import { QUEUE_NAME, type QueuedEvent } from './model.ts'

/** waiting: not delivered yet, on its way or to be tried again. failed: nobody tries any more. */
export type DeliveryState = 'waiting' | 'delivered' | 'failed'

/** Times are ISO 8601, UTC. */
export interface EventSummary {
  /** The webhook-id. */
  id: string
  type: string
  state: DeliveryState
  recordedAt: string
  /** Tries that ended, since it was recorded or sent again. */
  attempts: number
  /** How the last of them ended. */
  lastStatus: number | undefined
  lastError: string | undefined
  /** Only while it pauses. */
  nextTryAt: string | undefined
  /** When it came into its state, where that is not waiting. */
  deliveredAt: string | undefined
  failedAt: string | undefined
}

export interface EventDetail extends EventSummary {
  /** When it happened. */
  timestamp: string
  data: object
}

const FIELDS = ['name', 'timestamp', 'atm', 'failedReason', 'returnvalue', 'finishedOn'] as const
/** BullMQ keeps the time of the next try in the upper bits of a score. */
const SCORES_PER_MS = 0x1000

const isoTime = (milliseconds: number | string): string => new Date(Number(milliseconds)).toISOString()

/** The content's hash and what makes the job's name its own stand behind the webhook-id. */
const eventIdOf = (jobId: string): string => jobId.split('.').slice(0, -2).join('.')

export class JobReader {
  readonly #redis: Redis
  readonly #keys: EventKeys

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis
    this.#keys = eventKeys(prefix, QUEUE_NAME)
  }

  /** undefined where there is no such job. */
  async summary(jobId: string): Promise<EventSummary | undefined> {
    const [fields, score] = await Promise.all([
      this.#redis.hmget(this.#keys.job(jobId), ...FIELDS),
      this.#redis.zscore(this.#keys.delayed, jobId)
    ])
    const [type, recordedAt, attempts, failedReason, returned, finishedOn] = fields
    if (!type || !recordedAt) return undefined
    const state = !finishedOn ? 'waiting' : typeof returned === 'string' ? 'delivered' : 'failed'
    const { status, error } = lastTry(state, { attempts, failedReason, returned })
    const endedAt = finishedOn ? isoTime(finishedOn) : undefined
    return {
      id: eventIdOf(jobId),
      type,
      state,
      recordedAt: isoTime(recordedAt),
      attempts: Number(attempts ?? 0),
      lastStatus: status,
      lastError: error,
      nextTryAt: score ? isoTime(Math.floor(Number(score) / SCORES_PER_MS)) : undefined,
      deliveredAt: state === 'delivered' ? endedAt : undefined,
      failedAt: state === 'failed' ? endedAt : undefined
    }
  }

  async detail(jobId: string): Promise<EventDetail | undefined> {
    const [found, text] = await Promise.all([this.summary(jobId), this.#redis.hget(this.#keys.job(jobId), 'data')])
    if (found === undefined || typeof text !== 'string') return undefined
    const { body } = JSON.parse(text) as QueuedEvent
    const { timestamp, data } = JSON.parse(body) as Pick<EventDetail, 'timestamp' | 'data'>
    return { ...found, timestamp, data }
  }
}

type Field = string | null | undefined

/** A reason stays where it was written until the next try fails, so it counts only while it is the last word. */
function lastTry(
  state: DeliveryState,
  { attempts, failedReason, returned }: { attempts: Field; failedReason: Field; returned: Field }
): LastTry {
  if (state === 'delivered')
    return { status: /^\d{3}$/.test(returned ?? '') ? Number(returned) : undefined, error: undefined }
  return failedReason && Number(attempts ?? 0) > 0 ? readFailure(failedReason) : { status: undefined, error: undefined }
}

interface LastTry {
  /** HTTP status; undefined where there was no answer. */
  status: number | undefined
  error: string | undefined
}

/** What is kept of a try that failed. `answered`: the HTTP status, or the kind of failure where there was no answer. */
export function describeFailure(answered: number | string): string {
  if (answered === 410) return 'the receiver answered 410: it wants no more of this'
  return typeof answered === 'number' ? `the receiver answered ${answered}` : `no answer: ${answered}`
}

function readFailure(text: string): LastTry {
  const [, status] = /^the receiver answered (\d{3})\b/.exec(text) ?? []
  return { status: status === undefined ? undefined : Number(status), error: text }
}
