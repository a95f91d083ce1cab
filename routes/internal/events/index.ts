import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ignoreBodies } from '../../_shared/bodies.ts'
import { FindSchema, ListSchema, RedeliverSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'events' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { recordedEvents } = app

  ignoreBodies(app)

  app.get('/', { config, schema: ListSchema }, async function list(request) {
    const { limit, ...query } = request.query
    return recordedEvents.list({ limit: Number(limit), ...query })
  })

  app.get('/:id', { config, schema: FindSchema }, async function find(request) {
    return recordedEvents.find(request.params.id)
  })

  app.post('/:id/redeliver', { config, schema: RedeliverSchema }, async (request, reply) => {
    const { id } = request.params
    await recordedEvents.redeliver(id)
    return reply.code(202).send({ id, state: 'waiting' })
  })
}

export default routes
