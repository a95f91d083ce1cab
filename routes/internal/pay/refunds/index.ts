import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { CreateRefundSchema, FindRefundSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'pay' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { refunds } = app.pay

  app.post('/', { config, schema: CreateRefundSchema }, async function refund(request) {
    return refunds.create(request.body, request.query)
  })

  app.get('/:outRefundNo', { config, exposeHeadRoute: false, schema: FindRefundSchema }, async function find(request) {
    return refunds.find(request.params.outRefundNo, request.query)
  })
}

export default routes
