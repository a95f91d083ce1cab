import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { CloseSchema, FindSchema, OrderSchema } from './schema.ts'

const config = { auth: 'internal', keyScope: 'pay' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { prepay, orderBook } = app
  const parseJson = app.getDefaultJsonParser('error', 'error')

  // Many HTTP clients say application/json also where they send no body, as for a close.
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '') done(null)
    else parseJson(request, text, done)
  })

  app.post('/', { config, schema: OrderSchema }, async function order(request) {
    return prepay.create(request.body)
  })

  app.get('/:outTradeNo', { config, exposeHeadRoute: false, schema: FindSchema }, async function find(request) {
    return orderBook.find(request.params.outTradeNo, request.query)
  })

  app.post('/:outTradeNo/close', { config, schema: CloseSchema }, async function close(request, reply) {
    await orderBook.close(request.params.outTradeNo, request.query)
    return reply.code(204).send(null)
  })
}

export default routes
