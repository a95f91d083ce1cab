/** Delivery of events to the merchant's backend as Standard Webhooks: at least once, signed, the same id at every try. */
import { type Job, UnrecoverableError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { Webhook } from 'standardwebhooks'
import { Agent, type Dispatcher } from 'undici'
import { pauseMs, QUEUE_NAME, type QueuedEvent } from './queue.ts'

const ANSWER_TIMEOUT_MS = 15_000
const PARALLEL = 50
/** A lock is renewed every half of this; an instance that died is noticed at the next look, well inside a minute. */
const LOCK_MS = 30_000
const LOOK_FOR_STALLED_MS = 15_000

export interface DeliveryReport {
  id: string
  type: string
  try: number
  /** HTTP status; undefined where there was no answer. */
  status?: number
  error?: string
}

export interface DeliveryOptions {
  /** A patient connection: the worker blocks on it. It stays the caller's. */
  redis: Redis
  prefix: string
  url: string
  secrets: readonly string[]
  onTry?: (report: DeliveryReport) => void
  onError: (error: Error) => void
  /** Milliseconds since 1970. */
  now: () => number
}

export interface Delivery {
  /** Lets the posts that are under way end, then stops. */
  close(): Promise<void>
}

export function startDelivery(options: DeliveryOptions): Delivery {
  const { redis, prefix, url, onTry, onError } = options
  const agent = new Agent({
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
    connect: { timeout: 5000 }
  })
  const sign = signer(options.secrets)

  async function deliver(job: Job<QueuedEvent>): Promise<void> {
    const { id, body } = job.data
    const report = { id, type: job.name, try: job.attemptsMade + 1 }
    const status = await post(agent, url, body, sign(id, new Date(options.now()), body)).catch((error: Error) => {
      onTry?.({ ...report, error: failureName(error) })
      throw new Error(`no answer: ${failureName(error)}`)
    })
    onTry?.({ ...report, status })
    if (status === 410) throw new UnrecoverableError('the receiver answered 410: it wants no more of this')
    if (status < 200 || status > 299) throw new Error(`the receiver answered ${status}`)
  }

  const worker = new Worker<QueuedEvent>(QUEUE_NAME, deliver, {
    connection: redis,
    prefix,
    concurrency: PARALLEL,
    lockDuration: LOCK_MS,
    stalledInterval: LOOK_FOR_STALLED_MS,
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    settings: { backoffStrategy: (triesMade) => pauseMs(triesMade, Math.random()) }
  })
  worker.on('error', onError)

  return {
    async close() {
      await worker.close()
      await agent.close()
    }
  }
}

/** Signs with every secret, so that a receiver may hold the old or the new one while they change. */
function signer(secrets: readonly string[]): (id: string, at: Date, body: string) => Record<string, string> {
  const webhooks = secrets.map((secret) => new Webhook(secret))
  return (id, at, body) => ({
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': webhooks.map((webhook) => webhook.sign(id, at, body)).join(' ')
  })
}

/** Redirects are not followed: what answers 3xx has not taken the event. */
async function post(
  dispatcher: Dispatcher,
  url: string,
  body: string,
  signature: Record<string, string>
): Promise<number> {
  const { origin, pathname, search } = new URL(url)
  const headers = { 'content-type': 'application/json; charset=utf-8', 'user-agent': 'wxgate', ...signature }
  const answer = await dispatcher.request({ origin, path: pathname + search, method: 'POST', headers, body })
  await answer.body.dump()
  return answer.statusCode
}

/** The kind of failure without addresses or bodies. */
const failureName = (error: Error & { code?: string }): string => error.code ?? error.name
