import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ignoreBodies } from '../../_shared/bodies.ts'
import { GetEventSchema, ListEventsSchema, RedeliverEventSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'events' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { history } = app.events

  ignoreBodies(app)

  app.get('/', { config, schema: ListEventsSchema }, async function list(request) {
    const { limit, ...query } = request.query
    return history.list({ limit: Number(limit), ...query })
  })

  app.get('/:id', { config, schema: GetEventSchema }, async function find(request) {
    return history.find(request.params.id)
  })

  app.post('/:id/redeliver', { config, schema: RedeliverEventSchema }, async (request, reply) => {
    const { id } = request.params
    await history.redeliver(id)
    return reply.code(202).send({ id, state: 'waiting' })
  })
}

export default routes
