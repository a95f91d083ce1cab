import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ignoreBodies } from '../../../_shared/bodies.ts'
import { QuarantinedSchema, RetryCallbackSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'events' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { callbacks } = app

  ignoreBodies(app)

  app.get('/', { config, schema: QuarantinedSchema }, async function list(request) {
    const { limit, ...query } = request.query
    return callbacks.quarantine.list({ limit: Number(limit), ...query })
  })

  app.post('/:id/retry', { config, schema: RetryCallbackSchema }, async function retry(request, reply) {
    const { verdict, reason, id } = await callbacks.retry(request.params.id)
    request.verdict = { verdict, reason, webhookId: id }
    return reply.code(202).send({ verdict, reason, webhookId: id })
  })
}

export default routes
