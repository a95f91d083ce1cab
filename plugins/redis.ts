/** `app.redis`: the one connection that serves requests. A start does not fail for a Redis that is away. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Redis } from 'ioredis'
import { connectPrompt, settled } from '../lib/redis/connect.ts'
import { type Keys, redisKeys } from '../lib/redis/keys.ts'
import { readServerFacts, type ServerFacts } from '../lib/redis/server-facts.ts'

const START_PATIENCE_MS = 1000

export interface RedisPluginOptions {
  url: string
  prefix: string
}

declare module 'fastify' {
  interface FastifyInstance {
    redis: Redis
    keys: Keys
    /** What the Redis that is connected tells of itself; undefined while none has been. */
    readonly redisFacts: ServerFacts | undefined
  }
}

export default fp<RedisPluginOptions>(
  async (app: FastifyInstance, { url, prefix }) => {
    let away = false
    const redis = connectPrompt(url, (error: NodeJS.ErrnoException) => {
      if (!away) app.log.error({ cause: error.code ?? error.name }, 'Redis cannot be reached')
      away = true
    })
    redis.on('ready', () => {
      if (away) app.log.info('Redis is back')
      away = false
    })
    await settled(redis, START_PATIENCE_MS)

    let facts = redis.status === 'ready' ? await readServerFacts(redis) : undefined
    redis.on('ready', async () => {
      facts = await readServerFacts(redis)
    })
    app.decorate('redisFacts', { getter: () => facts })
    app.decorate('redis', redis)
    app.decorate('keys', redisKeys(prefix))
    app.addHook('onClose', async () => redis.disconnect())
  },
  { name: 'redis', fastify: '5.x' }
)
