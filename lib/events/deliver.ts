/**
 * Delivery of events to the merchant's backend as Standard Webhooks: at least once, signed, the same id at every try.
 */
import { type Job, UnrecoverableError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { Webhook } from 'standardwebhooks'
import { type Connections, openConnections } from '../http/connections.ts'
import { type ProxySettings, proxyVerdict } from '../http/proxy.ts'
import { withTimeout } from '../util/timeout.ts'
import { describeFailure } from './last-try.ts'
import { QUEUE_NAME, type QueuedEvent } from './open-queue.ts'
import { pauseMs } from './queue.ts'
import { createWaitingIndex } from './waiting.ts'

const PARALLEL = 50
/** The body of an answer says nothing to us; a longer one costs the connection. */
const MOST_ANSWER_BYTES = 64 * 1024
/** After a failure of the connection to Redis, which itself comes back within a second. */
const RETRY_MS = 1000
/** What it may take Redis to note how the posts ended, once they have. */
const LAST_WORDS_MS = 1500

export interface DeliveryTimes {
  /** From the attempt to connect until the last byte of the answer. */
  answerMs: number
  /** Renewed every half of it. Whoever does not is dead, and its deliveries are another's. */
  lockMs: number
  /**
   * Between two looks for the deliveries of the dead. In the worst case one look misses: 20 + 2 × 10 s, well inside the
   * minute.
   */
  lookMs: number
  /** What posts under way get at close(), well inside the time a process has to shut down. */
  closeMs: number
  /** Milliseconds after `triesMade` tries. */
  pauseMs: (triesMade: number) => number
}

const TIMES: DeliveryTimes = {
  answerMs: 15_000,
  lockMs: 20_000,
  lookMs: 10_000,
  closeMs: 4000,
  pauseMs: (triesMade) => pauseMs(triesMade, Math.random())
}

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
  proxy?: ProxySettings
  onTry?: (report: DeliveryReport) => void
  onError: (error: Error) => void
  /** Milliseconds since 1970. */
  now: () => number
  times?: Partial<DeliveryTimes>
}

export interface Delivery {
  /**
   * Takes no more events, lets posts under way end, and breaks off what takes too long: it is tried again. Resolves in
   * time also while Redis is away; what could not be noted there another instance takes over. Never rejects.
   */
  close(): Promise<void>
}

export function startDelivery(options: DeliveryOptions): Delivery {
  const { redis, prefix, url, onTry, onError } = options
  const times = { ...TIMES, ...options.times }
  const connectTimeoutMs = Math.min(5000, times.answerMs)
  const receiver = openConnections(new URL(url).origin, { connectTimeoutMs, proxy: options.proxy })
  const sign = signer(options.secrets)

  const index = createWaitingIndex(redis, prefix)

  /** What it gives is kept with the delivered event. */
  async function deliver(job: Job<QueuedEvent, number>): Promise<number> {
    const { id, body } = job.data
    const report = { id, type: job.name, try: job.attemptsMade + 1 }
    const status = await post(receiver, url, body, sign(id, new Date(options.now()), body), times.answerMs).catch(
      (error: Error) => {
        onTry?.({ ...report, error: failureName(error) })
        throw new Error(describeFailure(failureName(error)))
      }
    )
    onTry?.({ ...report, status })
    if (status === 410) throw new UnrecoverableError(describeFailure(status))
    if (status < 200 || status > 299) throw new Error(describeFailure(status))
    return status
  }

  const worker = new Worker<QueuedEvent, number>(QUEUE_NAME, deliver, {
    connection: redis,
    prefix,
    concurrency: PARALLEL,
    lockDuration: times.lockMs,
    stalledInterval: times.lookMs,
    runRetryDelay: RETRY_MS,
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    settings: { backoffStrategy: times.pauseMs }
  })
  worker.on('error', onError)
  const forget = (job: Job | undefined) => void (job?.id && index.tidy(job.id).catch(() => undefined))
  worker.on('completed', forget)
  worker.on('failed', forget)

  return {
    async close() {
      const closed = worker.close(redis.status !== 'ready').catch(onError)
      await withTimeout(closed, times.closeMs)
      await receiver.dispatcher.destroy()
      await withTimeout(closed, LAST_WORDS_MS)
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

/**
 * Redirects are not followed: what answers 3xx has not taken the event. The status decides; of the rest of an answer
 * only so much is read, and for so long, that the connection can be used again.
 */
async function post(
  { dispatcher, origin }: Connections,
  url: string,
  body: string,
  signature: Record<string, string>,
  timeoutMs: number
): Promise<number> {
  const { pathname, search } = new URL(url)
  const headers = { 'content-type': 'application/json; charset=utf-8', 'user-agent': 'wxgate', ...signature }
  const signal = AbortSignal.timeout(timeoutMs)
  const answer = await dispatcher.request({ origin, path: pathname + search, method: 'POST', headers, body, signal })
  await answer.body.dump({ limit: MOST_ANSWER_BYTES, signal }).catch(() => undefined)
  return answer.statusCode
}

/** The kind of failure without addresses or bodies. A DOMException such as a TimeoutError has a number for its code. */
function failureName(error: Error & { code?: string | number }): string {
  const verdict = proxyVerdict(error)
  if (verdict !== undefined) return `the proxy answered ${verdict}`
  return typeof error.code === 'string' ? error.code : error.name
}
