/** Connections to Redis that answer or fail within a known time, and come back by themselves. */
import { Redis, type RedisOptions } from 'ioredis'

/** Without the one option that its constructors type apart. */
type Options = Omit<RedisOptions, 'replyMapping'>

/** A request whose command hangs may wait for the one before it too, and has to be answered within two seconds. */
const COMMAND_TIMEOUT_MS = 800

/**
 * Redis answers within microseconds: a connection that owes an answer for so long is dead, or leads to nobody. It is given up, so
 * that who comes next fails at once, and a host that went away in silence is replaced. Less than the time-out of a command.
 */
const SILENCE_MS = 700

/** Pause before the next attempt to connect: 50 ms doubling to 1 s, so that a returning Redis is found soon. */
const retryStrategy = (attempt: number): number => Math.min(50 * 2 ** Math.min(attempt, 6), 1000)

const prompt: Options = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  socketTimeout: SILENCE_MS,
  connectTimeout: 1000,
  autoResendUnfulfilledCommands: false,
  enableAutoPipelining: true,
  retryStrategy
}

/** A worker blocks on purpose and has nobody waiting: it keeps trying instead of failing. */
const patient: Options = { maxRetriesPerRequest: null, connectTimeout: 1000, retryStrategy }

function connect(url: string, options: Options, onError: (error: Error) => void): Redis {
  const redis = open(url, options)
  redis.on('error', onError)
  return redis
}

function open(url: string, options: Options): Redis {
  if (url.startsWith('unix:')) return new Redis({ ...options, path: url.slice('unix:'.length) })
  if (/^rediss?:/.test(url)) return new Redis(url, options)
  throw new Error(
    'REDIS_URL: this version speaks to a single Redis (redis://, rediss://, unix:); Sentinel and Cluster are not served yet'
  )
}

/** For requests: every command answers or fails in less than a second. */
export const connectPrompt = (url: string, onError: (error: Error) => void): Redis => connect(url, prompt, onError)

/** For workers: commands may block and wait for a reconnection. */
export const connectPatient = (url: string, onError: (error: Error) => void): Redis => connect(url, patient, onError)

/** Resolves when the connection is ready or `timeoutMs` have passed, whichever is first; a start does not fail for a Redis that is away. */
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

const CONNECTION_TROUBLE =
  /^(Command timed out|Socket timeout|Connection is closed|Stream isn't writeable|Reached the max retries per request limit|None of startup nodes|Connection is in subscriber mode)/
const SERVER_TROUBLE =
  /^(LOADING|READONLY|OOM|MISCONF|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|BUSY|NOAUTH|WRONGPASS|NOPERM|NOREPLICAS)\b/
const SOCKET_TROUBLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'EACCES'
])

/** Whether an error says "Redis cannot serve now", as opposed to a mistake in what was asked of it. */
export function isRedisAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'MaxRetriesPerRequestError') return true
  if (error.name === 'ReplyError') return SERVER_TROUBLE.test(error.message)
  if (CONNECTION_TROUBLE.test(error.message)) return true
  const { code, syscall } = error as NodeJS.ErrnoException
  return syscall !== undefined && code !== undefined && SOCKET_TROUBLE.has(code)
}
