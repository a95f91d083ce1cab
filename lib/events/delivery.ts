/**
 * Delivery of events to the merchant's backend as Standard Webhooks: at least once, signed, the same id at every try.
 */
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { Webhook } from 'standardwebhooks'
import { type Connections, openConnections } from '../http/connections.ts'
import { type ProxySettings, proxyVerdict } from '../http/proxy.ts'
import { loadBullMQ } from '../redis/bullmq.ts'
import { QueueWorker, type Worker } from '../redis/worker.ts'
import { AimdLimit } from '../util/aimd-limit.ts'
import { describeFailure } from './job-reader.ts'
import { pauseMs, QUEUE_NAME, type QueuedEvent } from './model.ts'
import { PendingIndex } from './pending.ts'
import { post } from './post.ts'
import { RetryOrder } from './priorities.ts'

const HEADERS = { 'content-type': 'application/json; charset=utf-8', 'user-agent': 'wxgate' }
/** The receiver, or what stands before it, says that it cannot keep up or is not there. */
const BUSY: ReadonlySet<number> = new Set([429, 502, 503, 504])

export interface DeliveryTimes {
  /** From the attempt to connect until the last byte of the answer. */
  answerMs: number
  /** Renewed at half time. A worker that does not renew it is dead, and others take its deliveries. */
  lockMs: number
  /**
   * The pause between two looks for the deliveries of dead workers. In the worst case one look misses them: 20 s and
   * 2 × 10 s, well inside the minute.
   */
  lookMs: number
  /** What posts under way get at close(). */
  closeMs: number | undefined
  /** Milliseconds after `triesMade` tries. */
  pauseMs: (triesMade: number) => number
}

const TIMES: DeliveryTimes = {
  answerMs: 15_000,
  lockMs: 20_000,
  lookMs: 10_000,
  closeMs: undefined,
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
  /** The most that are under way at once. The receiver gets fewer while it does not answer. */
  concurrency: number
  onTry?: (report: DeliveryReport) => void
  onError: (error: Error) => void
  /** Milliseconds since 1970. */
  now: () => number
  times?: Partial<DeliveryTimes>
}

export function startDelivery(options: DeliveryOptions): Worker {
  const { redis, prefix, concurrency } = options
  const times = { ...TIMES, ...options.times }
  const connectTimeoutMs = Math.min(5000, times.answerMs)
  const receiver = openConnections(new URL(options.url).origin, { connectTimeoutMs, proxy: options.proxy })
  const limit = new AimdLimit(concurrency, (most) => {
    worker.concurrency = most
  })
  const retries = new RetryOrder(redis, prefix)
  const sign = signer(options.secrets)
  const { pathname, search } = new URL(options.url)
  const delivery = { ...options, receiver, path: pathname + search, sign, limit, retries, timeoutMs: times.answerMs }
  const pending = new PendingIndex(redis, prefix)
  const worker = new QueueWorker<QueuedEvent, number>({
    redis,
    prefix,
    name: QUEUE_NAME,
    ...times,
    concurrency,
    work: (job) => deliver(job, delivery),
    onTried: (jobId) => pending.tidySoon(jobId),
    onStopped: () => pending.tidyGathered(),
    onError: options.onError,
    breakOff: () => receiver.dispatcher.destroy()
  })
  return worker
}

type Sign = (id: string, at: Date, body: string) => Record<string, string>

interface Delivery extends Pick<DeliveryOptions, 'onTry' | 'now'> {
  receiver: Connections
  /** With its query. */
  path: string
  sign: Sign
  limit: AimdLimit
  retries: RetryOrder
  timeoutMs: number
}

/** One try. Answers the HTTP status, which is kept with the event. Throws where the event was not taken. */
async function deliver(job: Job<QueuedEvent, number>, delivery: Delivery): Promise<number> {
  const { receiver, path, sign, limit, retries, timeoutMs, onTry, now } = delivery
  const { id, body } = job.data
  const begun = limit.begin()
  const headers = { ...HEADERS, ...sign(id, new Date(now()), body) }
  const answered = await post(receiver, { path, headers, body }, timeoutMs).catch(failureName)
  if (typeof answered === 'string' || BUSY.has(answered)) limit.failed(begun)
  else limit.succeeded()
  const outcome = typeof answered === 'string' ? { error: answered } : { status: answered }
  onTry?.({ id, type: job.name, try: job.attemptsMade + 1, ...outcome })
  if (answered === 410) throw new (await loadBullMQ()).UnrecoverableError(describeFailure(answered))
  if (typeof answered === 'number' && answered >= 200 && answered <= 299) return answered
  // The same connection notes the end of the try, after this. Where it fails, only the order suffers.
  void retries.tried(job).catch(() => undefined)
  throw new Error(describeFailure(answered))
}

/** Signs with every secret, so that a receiver may hold the old or the new one while they change. */
function signer(secrets: readonly string[]): Sign {
  const webhooks = secrets.map((secret) => new Webhook(secret))
  return (id, at, body) => ({
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': webhooks.map((webhook) => webhook.sign(id, at, body)).join(' ')
  })
}

/** The kind of failure without addresses or bodies. A DOMException such as a TimeoutError has a number for its code. */
function failureName(error: Error & { code?: string | number }): string {
  const verdict = proxyVerdict(error)
  if (verdict !== undefined) return `the proxy answered ${verdict}`
  return typeof error.code === 'string' ? error.code : error.name
}
