/** `app.redis`: the one connection that serves requests. A start does not fail for a Redis that is away. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Redis } from 'ioredis'
import { connectPrompt, settled } from '../lib/redis/connect.ts'
import { type Keys, redisKeys } from '../lib/redis/keys.ts'

const START_PATIENCE_MS = 1000

export interface RedisPluginOptions {
  url: string
  prefix: string
}

declare module 'fastify' {
  interface FastifyInstance {
    redis: Redis
    keys: Keys
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

    app.decorate('redis', redis)
    app.decorate('keys', redisKeys(prefix))
    app.addHook('onClose', async () => redis.disconnect())
  },
  { name: 'redis', fastify: '5.x' }
)
