import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { RefusedSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'events' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { refused } = app.callbacks

  app.get('/', { config, schema: RefusedSchema }, async function list(request) {
    const { limit, ...query } = request.query
    return refused.list({ limit: Number(limit), ...query })
  })
}

export default routes
