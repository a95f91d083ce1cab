/**
 * Events wait in a BullMQ queue: recorded once by identity, delivered by any worker, kept when they fail. New ones are
 * written as BullMQ lays out its jobs (6.7, its addStandardJob and addPrioritizedJob), so that its worker takes them:
 * all of one turn of the event loop in one script, each once for its identity.
 */
import { hash, randomBytes } from 'node:crypto'
import type { JobsOptions } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Durability } from '../redis/durability.ts'
import { type EventKeys, eventKeys } from '../redis/keys.ts'
import { type LazyQueue, MOST_PROGRESS_NOTES } from '../redis/queue.ts'
import { CALL_IF_TYPE, defineScript, runScript } from '../redis/script.ts'
import {
  DELIVERED_LIFE_SECONDS,
  type Event,
  IDENTITY_LIFE_MS,
  MOST_DELIVERED_KEPT,
  QUEUE_NAME,
  type QueuedEvent,
  TRIES
} from './model.ts'
import { PRIORITY } from './priorities.ts'

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

export interface NewJob {
  id: string
  /** The type of the event. */
  name: string
  data: QueuedEvent
  /** Everything else that is to be delivered goes first. */
  lowPriority: boolean
}

/** Redis does nothing else meanwhile; so many take it about a millisecond. */
const MOST_TOGETHER = 64
/** Bytes of bodies in one call, so that on a slow network those before it are confirmed already. */
const MOST_BYTES = 256 * 1024
const JOB_OPTIONS: JobsOptions = {
  attempts: TRIES,
  backoff: { type: 'custom' },
  removeOnComplete: { age: DELIVERED_LIFE_SECONDS, count: MOST_DELIVERED_KEPT },
  removeOnFail: false,
  /** A stack of ours for each failed try tells nobody anything, and would triple what waits. */
  stackTraceLimit: 0
}

const COMMON_KEYS = 7
const ARGUMENTS = 7

/**
 * KEYS wait, prioritized, counter of priorities, meta, active, marker, our index; then of each job its own and that of
 * its identity. ARGV life of identities (ms); then of each job its id, name, event id, data, options, time (ms) and
 * priority. Answers for each the id of the job that holds its identity; '' where that key holds something else.
 *
 * The first step always writes: a Redis that takes no writes, such as a primary after a failover, must not answer even
 * "seen before", because what it holds may be discarded. The identity is written last: after a failure on the way the
 * event comes again, and is not lost.
 */
const ADD_JOBS = defineScript(
  COMMON_KEYS,
  `${CALL_IF_TYPE}
redis.call('HSET', KEYS[4], 'opts.maxLenEvents', ${MOST_PROGRESS_NOTES})
local state = redis.call('HMGET', KEYS[4], 'paused', 'concurrency')
local isHeldBack = state[1] or state[2] and redis.call('LLEN', KEYS[5]) >= tonumber(state[2])
local function isGone(identity, job)
  return redis.call('PTTL', identity) == -1 and redis.call('EXISTS', job) == 0
end
local function push(id, priority)
  if not isHeldBack then redis.call('ZADD', KEYS[6], 0, '0') end
  if priority == 0 then return redis.call('LPUSH', KEYS[1], id) end
  local count = redis.call('INCR', KEYS[3])
  redis.call('ZADD', KEYS[2], priority * 0x100000000 + count % 0x100000000, id)
end
local function add(job, identity, id, name, event, data, options, time, priority)
  local held = callIfType('GET', identity)
  if held == nil then return '' end
  if held and not isGone(identity, string.sub(job, 1, #job - #id) .. held) then return held end
  redis.call('HSET', job, 'name', name, 'data', data, 'opts', options, 'timestamp', time, 'delay', 0,
    'priority', priority, 'deid', event)
  redis.call('ZADD', KEYS[7], time, id)
  push(id, tonumber(priority))
  redis.call('SET', identity, id, 'PX', ARGV[1])
  return id
end
local answers = {}
for n = 0, (#ARGV - 1) / ${ARGUMENTS} - 1 do
  local key, at = ${COMMON_KEYS} + 2 * n, 1 + ${ARGUMENTS} * n
  answers[n + 1] = add(KEYS[key + 1], KEYS[key + 2], unpack(ARGV, at + 1, at + ${ARGUMENTS}))
end
return answers`
)

interface Waiting extends NewJob {
  resolve: (heldBy: string) => void
  reject: (error: unknown) => void
}

export class JobWriter {
  readonly #redis: Redis
  readonly #keys: EventKeys
  readonly #commonKeys: readonly string[]
  #waiting: Waiting[] = []

  constructor(redis: Redis, prefix: string) {
    const keys = eventKeys(prefix, QUEUE_NAME)
    const ofQueue = ['wait', 'prioritized', 'pc', 'meta', 'active', 'marker'].map((name) => keys.job(name))
    this.#redis = redis
    this.#keys = keys
    this.#commonKeys = [...ofQueue, keys.pending]
  }

  /**
   * Resolves to the id of the job that holds this identity: the one given, or one that was there before. When it
   * throws, nobody knows whether Redis has it.
   */
  add(job: NewJob): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    if (this.#waiting.length === 0) setImmediate(() => this.#writeAll())
    this.#waiting.push({ ...job, resolve, reject })
    return promise
  }

  #writeAll(): void {
    const jobs = this.#waiting
    this.#waiting = []
    for (let start = 0; start < jobs.length; ) {
      const end = endOfBatch(jobs, start)
      void this.#write(jobs.slice(start, end))
      start = end
    }
  }

  async #write(jobs: Waiting[]): Promise<void> {
    try {
      const keys = jobs.flatMap(({ id, data }) => [this.#keys.job(id), this.#keys.job(`de:${data.id}`)])
      const now = Date.now()
      const args = jobs.flatMap((job) => argumentsOf(job, now))
      const script = { ...ADD_JOBS, numberOfKeys: COMMON_KEYS + keys.length }
      const heldBy = await runScript(this.#redis, script, [...this.#commonKeys, ...keys], [IDENTITY_LIFE_MS, ...args])
      for (const [at, { resolve, reject }] of jobs.entries()) {
        const holder = (heldBy as string[])[at]
        if (holder) resolve(holder)
        else reject(new Error('the identity of an event holds something else in Redis'))
      }
    } catch (error) {
      for (const { reject } of jobs) reject(error)
    }
  }
}

/** One job at least. */
function endOfBatch(jobs: readonly Waiting[], start: number): number {
  let bytes = 0
  const most = jobs.slice(start, start + MOST_TOGETHER)
  const tooMuch = most.findIndex(({ data }) => {
    bytes += Buffer.byteLength(data.body)
    return bytes > MOST_BYTES
  })
  return start + (tooMuch === -1 ? most.length : Math.max(tooMuch, 1))
}

function argumentsOf({ id, name, data, lowPriority }: NewJob, now: number): (string | number)[] {
  const priority = lowPriority ? PRIORITY.firstTryLow : PRIORITY.firstTry
  const de = { id: data.id, ttl: IDENTITY_LIFE_MS }
  const options = JSON.stringify({ ...JOB_OPTIONS, priority, timestamp: now, jobId: id, de })
  return [id, name, data.id, JSON.stringify(data), options, now, priority]
}
