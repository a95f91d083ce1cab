import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { OrderSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { prepay } = app

  app.post('/', { config: { auth: 'internal' }, schema: OrderSchema }, async function order(request) {
    return prepay.create(request.body)
  })
}

export default routes
