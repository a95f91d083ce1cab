/** /healthz: the process lives. /readyz: it can serve. Both without a key, since whoever balances the load asks them. */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'

const Fine = Type.Object({ ok: Type.Integer() })
const NotFine = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  error: Type.String(),
  message: Type.String(),
  requestId: Type.String()
})
const response = { 200: Fine, '4xx': NotFine, '5xx': NotFine }
/** Asked every second, and silent in the log while all is well. */
const options = { config: { auth: 'none' as const }, logLevel: 'warn' as const }

export default fp(
  async (app: FastifyInstance) => {
    const health = { tags: ['operation'], summary: 'The process lives', response }
    app.get('/healthz', { ...options, schema: health }, async function live() {
      return { ok: 1 }
    })

    const readiness = { tags: ['operation'], summary: 'Redis answers and start-up is done', response }
    app.get('/readyz', { ...options, schema: readiness }, async function ready() {
      if (app.redis.status !== 'ready') throw new ServiceError('REDIS_UNAVAILABLE')
      await app.redis.ping()
      return { ok: 1 }
    })
  },
  { name: 'health', dependencies: ['redis'], fastify: '5.x' }
)
