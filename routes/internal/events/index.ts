import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ignoreBodies } from '../../_shared/bodies.ts'
import { GetEventSchema, ListEventsSchema, RedeliverEventSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'events' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { eventHistory } = app

  ignoreBodies(app)

  app.get('/', { config, schema: ListEventsSchema }, async function list(request) {
    const { limit, ...query } = request.query
    return eventHistory.list({ limit: Number(limit), ...query })
  })

  app.get('/:id', { config, schema: GetEventSchema }, async function find(request) {
    return eventHistory.find(request.params.id)
  })

  app.post('/:id/redeliver', { config, schema: RedeliverEventSchema }, async (request, reply) => {
    const { id } = request.params
    await eventHistory.redeliver(id)
    return reply.code(202).send({ id, state: 'waiting' })
  })
}

export default routes
