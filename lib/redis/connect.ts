/** Connections to Redis that answer or fail within a known time, and come back by themselves. */
import { Redis, type RedisOptions } from 'ioredis'
import { infoForQueues } from './info-for-queues.ts'
import { closeWhenSilent } from './silence.ts'
import { type Trouble, troubleOf } from './trouble.ts'
import { writeTogether } from './write-together.ts'

/** Without the one option that its constructors type apart. */
type Options = Omit<RedisOptions, 'replyMapping'>

/** Between two attempts where Redis is there and refuses this connection. */
const REFUSED_PAUSE_MS = 1000

/** Pause before the next attempt to connect: 50 ms doubling to 1 s, so that a returning Redis is found soon. */
const pauseMs = (attempt: number): number => Math.min(50 * 2 ** Math.min(attempt - 1, 6), 1000)

/** No ready check: it needs INFO, which not every user may run, and Redis says LOADING at each command anyway. */
const common: Options = { connectTimeout: 1000, disconnectTimeout: 500, enableReadyCheck: false }

const prompt: Options = {
  ...common,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false
}

/** A worker blocks on purpose and has nobody waiting: it keeps trying instead of failing. */
const patient: Options = { ...common, maxRetriesPerRequest: null }

export interface ConnectionEvents {
  onError: (error: Error) => void
  /** For each connection made, those too that a library makes from it (`duplicate`). */
  onConnection?: (redis: Redis) => void
  /** Redis answered a command so: it is there, and refuses. */
  onRefusal?: (trouble: Trouble, redis: Redis) => void
}

function connect(url: string, options: Options, events: ConnectionEvents): Redis {
  const redis = supervise(open(url, options), events)
  if (options === prompt) closeWhenSilent(redis)
  writeTogether(redis)
  redis.on('error', events.onError)
  return redis
}

function open(url: string, options: Options): Redis {
  if (url.startsWith('unix:')) return new Redis({ ...options, path: url.slice('unix:'.length) })
  if (/^rediss?:/.test(url)) return new Redis(url, options)
  throw new Error(
    'REDIS_URL: this version speaks to a single Redis (redis://, rediss://, unix:); ' +
      'Sentinel and Cluster are not served yet'
  )
}

/** What ioredis does not see to, for a connection and its duplicates. Those bring their own time-outs. */
function supervise(redis: Redis, events: ConnectionEvents): Redis {
  const duplicate = redis.duplicate.bind(redis)
  redis.duplicate = (override) => supervise(duplicate(override), events)
  redis.info = infoForQueues(redis)
  redis.options.reconnectOnError = (error) => {
    const trouble = troubleOf(error)
    if (trouble !== undefined) events.onRefusal?.(trouble, redis)
    return false
  }
  refuseOtherDatabase(redis)
  events.onConnection?.(redis)
  return redis
}

/** Closes the connection where SELECT fails. ioredis would go on in database 0, which may be somebody else's. */
function refuseOtherDatabase(redis: Redis): void {
  let refusedAt = Number.NEGATIVE_INFINITY
  redis.on('error', (error: Error & { command?: { name: string } }) => {
    if (error.command?.name !== 'select') return
    refusedAt = performance.now()
    redis.disconnect(true)
  })
  redis.options.retryStrategy = (attempt) =>
    performance.now() - refusedAt < REFUSED_PAUSE_MS ? REFUSED_PAUSE_MS : pauseMs(attempt)
}

const asEvents = (events: ConnectionEvents | ConnectionEvents['onError']): ConnectionEvents =>
  typeof events === 'function' ? { onError: events } : events

/** For requests: every command answers or fails in less than a second. */
export const connectPrompt = (url: string, events: ConnectionEvents | ConnectionEvents['onError']): Redis =>
  connect(url, prompt, asEvents(events))

/** For workers: commands may block and wait for a reconnection. */
export const connectPatient = (url: string, events: ConnectionEvents | ConnectionEvents['onError']): Redis =>
  connect(url, patient, asEvents(events))

/** One attempt, to be closed by the caller. Rejects where it fails. As prompt as for requests. */
export async function connectOnce(url: string): Promise<Redis> {
  const redis = open(url, { ...prompt, lazyConnect: true })
  closeWhenSilent(redis)
  let refusal: Error | undefined
  redis.on('error', (error: Error) => {
    refusal = error
  })
  redis.options.retryStrategy = () => null
  try {
    await redis.connect()
    if (refusal !== undefined) throw refusal
    return redis
  } catch (error) {
    redis.disconnect()
    throw refusal ?? error
  }
}

/**
 * Resolves when the connection is ready or `timeoutMs` have passed, whichever is first; a start does not fail for a
 * Redis that is away.
 */
export async function settled(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, timeoutMs)
    function done() {
      clearTimeout(timer)
      redis.off('ready', done)
      resolve()
    }
    redis.once('ready', done)
  })
}
