import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorCodes } from 'fastify'
import { BillSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { bills } = app.pay
  const options = {
    config: { auth: 'internal', scope: 'internal', keyScope: 'pay' },
    exposeHeadRoute: false,
    schema: BillSchema
  } as const

  app.get('/:kind', options, async function bill(request, reply) {
    const { date, ...hint } = request.query
    const opened = await bills.open({ kind: request.params.kind, date }, hint)
    if (opened.status === 'future')
      throw new errorCodes.FST_ERR_VALIDATION('querystring/date must not be in the future')
    // Where it turns out wrong on the way, the connection is broken off, and no client takes it for whole.
    return reply.type('text/csv; charset=utf-8').sendOpen(opened.csv)
  })
}

export default routes
