/**
 * `app.redis`: the one connection that serves requests. A start goes on without a Redis that is away, and fails for a
 * wrong REDIS_URL.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Redis } from 'ioredis'
import { loadBullMQ } from '../lib/redis/bullmq.ts'
import { settled } from '../lib/redis/connect.ts'
import { type Keys, redisKeys } from '../lib/redis/keys.ts'
import { RedisPool } from '../lib/redis/pool.ts'
import { Readiness } from '../lib/redis/readiness.ts'
import { addressOf, readServerFacts, type ServerFacts, unfit } from '../lib/redis/server-facts.ts'
import type { Trouble } from '../lib/redis/trouble.ts'
import type { Worker } from '../lib/redis/worker.ts'
import { Issues } from '../lib/settings/issues.ts'
import type { Settings } from '../lib/settings/model.ts'
import { throttle } from '../lib/util/throttle.ts'

const START_PATIENCE_MS = 1000
const MINUTE_MS = 60_000

/** Starts a worker, with a connection of its own where it opens one. */
export type StartWorker = (openRedis: () => Redis, onError: (error: Error) => void) => Worker

/** Whether Redis does what the service needs. */
export interface RedisHealth extends Pick<Readiness, 'check' | 'checkSometimes'> {
  /** What the Redis that is connected tells of itself; undefined while none has been. */
  readonly facts: ServerFacts | undefined
}

declare module 'fastify' {
  interface FastifyInstance {
    redis: Redis
    keys: Keys
    redisHealth: RedisHealth
    /** Runs a worker from when the service is ready until it stops. `what` it does: for the log, where it cannot. */
    runWorker(what: string, start: StartWorker): void
  }
}

export default fp<Settings['redis']>(
  async (app: FastifyInstance, { url, prefix }) => {
    const { log } = app
    const keys = redisKeys(prefix)
    let facts: ServerFacts | undefined
    const pool = new RedisPool(url, {
      onError: (error) => readiness.failed(error),
      onRefusal: (trouble) => readiness.refused(trouble)
    })
    const redis = pool.prompt
    const address = addressOf(redis)
    const readiness = new Readiness({
      url,
      pool,
      key: keys.ready,
      async inspect() {
        const before = facts?.evictionPolicy
        facts = await readServerFacts(redis)
        const { evictionPolicy: policy = before } = facts
        if (policy !== before && policy !== 'noeviction') log.warn({ redis: address, policy }, EVICTION)
        return unfit(facts)
      },
      onTrouble: ({ cause, reason }) => log.error({ cause, detail: `${address} ${reason}` }, 'Redis cannot be used'),
      onUsable: () => log.info('Redis is back')
    })
    app.addHook('onClose', async () => {
      readiness.close()
      redis.disconnect()
    })
    // Nothing waits for it: queues and workers wait for it where they need it.
    app.addHook('onReady', async () => void loadBullMQ())
    await settled(redis, START_PATIENCE_MS)
    refuseSetting(address, await readiness.check())

    app.decorate('redis', redis)
    app.decorate('keys', keys)
    app.decorate('redisHealth', {
      check: () => readiness.check(),
      checkSometimes: () => readiness.checkSometimes(),
      get facts() {
        return facts
      }
    })
    app.decorate('runWorker', (what, start) => runWorker(app, { what, start, openRedis: () => pool.openPatient() }))
  },
  { name: 'redis', fastify: '5.x' }
)

const EVICTION = 'Redis may throw events away when its memory is full: set maxmemory-policy noeviction'

/** Throws SettingsError where REDIS_URL itself is the trouble: no waiting mends that. */
function refuseSetting(address: string, trouble: Trouble | undefined): void {
  const issues = new Issues()
  if (trouble?.isSetting) issues.add('REDIS_URL', `names ${address}, which ${trouble.reason} (${trouble.cause})`)
  issues.throwIfAny()
}

interface WorkerRun {
  what: string
  start: StartWorker
  openRedis: () => Redis
}

/** A Redis that refuses writes fails every step of a worker, ten times a second: each cause is logged once a minute. */
function runWorker(app: FastifyInstance, { what, start, openRedis }: WorkerRun): void {
  const warn = throttle(MINUTE_MS, (cause) => app.log.warn({ cause }, what))
  let worker: Worker | undefined
  let redis: Redis | undefined
  let closed: Promise<void> | undefined
  let isClosing = false
  const open = () => {
    redis ??= openRedis()
    return redis
  }
  const close = () => {
    isClosing = true
    closed ??= worker?.close()
    return closed
  }
  app.addHook('onReady', async () => {
    if (!isClosing) worker = start(open, (error) => warn(causeOf(error)))
  })
  // Jobs end while requests do: waiting for them first would keep the listener open, answering 503.
  app.addHook('preClose', async () => void close())
  app.addHook('onClose', async () => {
    await close()
    redis?.disconnect()
  })
}

/** Redis' own word for what is wrong, such as READONLY; what follows it may quote what was asked of it. */
const causeOf = ({ name, message, code }: NodeJS.ErrnoException): string =>
  (name === 'ReplyError' ? message.split(' ', 1)[0] : code) ?? name
