/** Refund notices that WeChat could not confirm at once wait in a BullMQ queue, until any worker has them confirmed. */
import { type Job, type JobsOptions, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Durability } from '../../events/durability.ts'
import { lazyQueue } from '../../events/open-queue.ts'
import { pauseMs, TRIES } from '../../events/queue.ts'
import { withTimeout } from '../../util/timeout.ts'
import type { RefundCallbacks } from './refund-callback.ts'

const QUEUE_NAME = 'refund-confirmation'
const PARALLEL = 4
const LOCK_MS = 30_000
/** Between two looks for what the dead held. */
const LOOK_MS = 10_000
/** After a failure of the connection to Redis, which itself comes back within a second. */
const RETRY_MS = 1000
/** What confirmations under way get at close(). */
const CLOSE_MS = 4000

/** No try is the last one for the queue: a notice leaves it once it is settled, or in quarantine. */
const jobOptions: JobsOptions = {
  attempts: Number.MAX_SAFE_INTEGER,
  backoff: { type: 'custom' },
  removeOnComplete: true,
  stackTraceLimit: 0
}

/** The notice as it came: what is private in it stays under the APIv2 key. */
interface Waiting {
  mchid: string
  /** Base64. */
  body: string
}

export interface RefundConfirmations {
  /** Stores a notice, once for each `id`. When it resolves, Redis holds it, on disk where that was asked for. */
  add(notice: { id: string; mchid: string; body: Buffer }): Promise<void>
  close(): Promise<void>
}

/** The connection stays the caller's. `durability`: as events are recorded. */
export function createRefundConfirmations(redis: Redis, prefix: string, durability?: Durability): RefundConfirmations {
  const { open, close } = lazyQueue<Waiting>(redis, prefix, QUEUE_NAME)
  return {
    async add({ id, mchid, body }) {
      const queue = await open()
      const confirm = await durability?.begin()
      await queue.add(QUEUE_NAME, { mchid, body: body.toString('base64') }, { ...jobOptions, jobId: id })
      await confirm?.()
    },
    close
  }
}

export type ConfirmationReport = Awaited<ReturnType<RefundCallbacks['confirm']>> & { mchid: string }

export interface RefundConfirmationOptions {
  /** A patient connection: the worker blocks on it. It stays the caller's. */
  redis: Redis
  prefix: string
  confirm: RefundCallbacks['confirm']
  /** After three days of tries, and from then on until it could. */
  giveUp: RefundCallbacks['giveUp']
  /** One notice came to something. */
  onSettled: (report: ConfirmationReport) => void
  onError: (error: Error) => void
  /** Milliseconds after `triesMade` tries; default: the pauses of events. */
  pauseMs?: (triesMade: number) => number
}

export interface ConfirmationWorker {
  /** Takes no more notices and lets those under way end, in time also while Redis is away; another worker takes over the rest. Never rejects. */
  close(): Promise<void>
}

export function startRefundConfirmations(options: RefundConfirmationOptions): ConfirmationWorker {
  const { redis, prefix, confirm, giveUp, onSettled, onError } = options

  async function settle({ id = '', data: { mchid, body }, attemptsMade }: Job<Waiting>): Promise<void> {
    const bytes = Buffer.from(body, 'base64')
    const outcome = await confirm(mchid, bytes).catch((error: unknown) => {
      if (attemptsMade + 1 < TRIES) throw error
      return giveUp({ id, mchid, body: bytes })
    })
    onSettled({ mchid, ...outcome })
  }

  const worker = new Worker<Waiting>(QUEUE_NAME, settle, {
    connection: redis,
    prefix,
    concurrency: PARALLEL,
    lockDuration: LOCK_MS,
    stalledInterval: LOOK_MS,
    runRetryDelay: RETRY_MS,
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    settings: { backoffStrategy: options.pauseMs ?? ((triesMade) => pauseMs(triesMade, Math.random())) }
  })
  worker.on('error', onError)

  return {
    async close() {
      await withTimeout(worker.close(redis.status !== 'ready').catch(onError), CLOSE_MS)
    }
  }
}
