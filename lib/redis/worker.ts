/** Workers do jobs in the background, several at a time, until they are closed, also after trouble with Redis. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Worker as BullWorker, Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { withTimeout } from '../util/deadline.ts'
import { loadBullMQ } from './bullmq.ts'

/** After a failure of the connection to Redis, which itself comes back within a second. */
const RETRY_MS = 1000
/** What jobs under way get at close(), well inside the time that a process has to shut down. */
const CLOSE_MS = 4000
/** What it may take Redis to note how jobs ended that were broken off. */
const LAST_NOTES_MS = 1500

export interface WorkerOptions {
  /** Jobs at a time. */
  concurrency: number
  /** Trouble with Redis, or a job that failed in a way that nobody handles. */
  onError: (error: Error) => void
  /** Default: 4 s. */
  closeMs?: number | undefined
  /** Breaks off the jobs that are still under way after `closeMs`. */
  breakOff?: (() => Promise<void>) | undefined
}

export abstract class Worker {
  readonly #options: WorkerOptions

  constructor(options: WorkerOptions) {
    this.#options = options
  }

  /** Takes no more jobs. Resolves when the last one under way has ended. */
  protected abstract stop(): Promise<void>

  /**
   * Takes no more jobs, lets those under way end, and breaks off what takes too long. Resolves in time also while Redis
   * is away: another worker takes over what could not be noted there. Never rejects.
   */
  async close(): Promise<void> {
    const { onError, closeMs = CLOSE_MS, breakOff } = this.#options
    const stopped = this.stop().catch(onError)
    await withTimeout(stopped, closeMs)
    await breakOff?.()
    await withTimeout(stopped, LAST_NOTES_MS)
  }
}

export interface QueueWorkerOptions<T, R> extends WorkerOptions {
  /** A patient connection: the worker blocks on it. It stays the caller's. */
  redis: Redis
  prefix: string
  name: string
  /** Does a job. What it throws has the job tried again. */
  work: (job: Job<T, R>) => Promise<R>
  /** Milliseconds after `triesMade` tries. */
  pauseMs: (triesMade: number) => number
  /** Renewed at half time. A worker that does not renew it is dead, and others take its jobs. */
  lockMs: number
  /** Between two looks for the jobs of the dead. */
  lookMs: number
  /** After each try. */
  onTried?: ((jobId: string) => void) | undefined
  /** What is left to do in Redis after the last job. Not called while Redis is away. */
  onStopped?: (() => Promise<void>) | undefined
}

/** Does the jobs of a BullMQ queue. */
export class QueueWorker<T, R = void> extends Worker {
  readonly #redis: Redis
  readonly #worker: Promise<BullWorker<T, R>>
  readonly #onStopped: QueueWorkerOptions<T, R>['onStopped']

  constructor(options: QueueWorkerOptions<T, R>) {
    super(options)
    this.#redis = options.redis
    this.#onStopped = options.onStopped
    this.#worker = startWorker(options)
  }

  /** Jobs at a time from now on. Those under way end as they would have. */
  set concurrency(most: number) {
    void this.#worker.then((worker) => {
      worker.concurrency = most
    })
  }

  protected async stop(): Promise<void> {
    const worker = await this.#worker
    await worker.close(this.#redis.status !== 'ready')
    if (this.#redis.status === 'ready') await this.#onStopped?.()
  }
}

async function startWorker<T, R>(options: QueueWorkerOptions<T, R>): Promise<BullWorker<T, R>> {
  const { redis, prefix, name, work, onTried, onError } = options
  const { Worker: QueueReader } = await loadBullMQ()
  const worker = new QueueReader<T, R>(name, work, {
    connection: redis,
    prefix,
    concurrency: options.concurrency,
    lockDuration: options.lockMs,
    stalledInterval: options.lookMs,
    runRetryDelay: RETRY_MS,
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    settings: { backoffStrategy: options.pauseMs }
  })
  worker.on('error', (error) => {
    onError(error)
    if (error.name === 'ReplyError') void rest(worker).catch(onError)
  })
  const tried = (job: Job | undefined) => job?.id !== undefined && onTried?.(job.id)
  worker.on('completed', tried)
  worker.on('failed', tried)
  return worker
}

/** Where Redis refuses what a worker sends, BullMQ sends it again at once, and would do nothing else. */
async function rest<T, R>(worker: BullWorker<T, R>): Promise<void> {
  if (worker.isPaused()) return
  await worker.pause(true)
  await pause(RETRY_MS, undefined, { ref: false })
  if (worker.closing === undefined) await worker.resume()
}

export interface Taken<T> {
  jobs: T[]
  /** How long to sleep where there are none. */
  sleepMs: number
}

export interface PollingWorkerOptions<T> extends WorkerOptions {
  /** At most `most` jobs that are due. */
  take: (most: number) => Promise<Taken<T>>
  work: (job: T) => Promise<void>
}

/** Does jobs that lie in no queue: looks for them again and again. One slow job holds no other up. */
export class PollingWorker<T> extends Worker {
  readonly #options: PollingWorkerOptions<T>
  readonly #closing = new AbortController()
  readonly #underWay = new Set<Promise<void>>()
  readonly #running: Promise<void>

  constructor(options: PollingWorkerOptions<T>) {
    super(options)
    this.#options = options
    this.#running = this.#run()
  }

  protected stop(): Promise<void> {
    this.#closing.abort()
    return this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      const { jobs, sleepMs } = await this.#take()
      for (const job of jobs) this.#begin(job)
      if (this.#underWay.size >= this.#options.concurrency) await Promise.race(this.#underWay)
      else if (jobs.length === 0) await pause(sleepMs, undefined, { signal }).catch(() => undefined)
    }
    await Promise.all(this.#underWay)
  }

  async #take(): Promise<Taken<T>> {
    const { take, concurrency, onError } = this.#options
    try {
      return await take(concurrency - this.#underWay.size)
    } catch (error) {
      onError(error as Error)
      return { jobs: [], sleepMs: RETRY_MS }
    }
  }

  #begin(job: T): void {
    const { work, onError } = this.#options
    const done = work(job)
      .catch(onError)
      .finally(() => this.#underWay.delete(done))
    this.#underWay.add(done)
  }
}
