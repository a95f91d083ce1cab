/** /healthz: the process lives. /readyz: it can serve. Both without a key, since whoever balances the load asks them. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'

export default fp(
  async (app: FastifyInstance) => {
    app.get('/healthz', { config: { auth: 'none' }, logLevel: 'warn' }, async () => ({ ok: 1 }))

    app.get('/readyz', { config: { auth: 'none' }, logLevel: 'warn' }, async function ready() {
      if (app.redis.status !== 'ready') throw new ServiceError('REDIS_UNAVAILABLE')
      await app.redis.ping()
      return { ok: 1 }
    })
  },
  { name: 'health', dependencies: ['redis'], fastify: '5.x' }
)
