import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { CloseOrderSchema, CreateOrderSchema, FindOrderSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'pay' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { orders } = app.pay

  app.post('/', { config, schema: CreateOrderSchema }, async function order(request) {
    return orders.create(request.body)
  })

  app.get('/:outTradeNo', { config, exposeHeadRoute: false, schema: FindOrderSchema }, async function find(request) {
    return orders.find(request.params.outTradeNo, request.query)
  })

  app.post('/:outTradeNo/close', { config, schema: CloseOrderSchema }, async function close(request, reply) {
    await orders.close(request.params.outTradeNo, request.query)
    return reply.code(204).send(null)
  })
}

export default routes
