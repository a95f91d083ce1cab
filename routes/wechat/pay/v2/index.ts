/** The doors for WeChat Pay's XML, with one face to everybody who cannot sign. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { noteOutcome, rawBody, takeRaw, V2_BODY_LIMIT_BYTES } from '../../raw-door.ts'
import { NotifyV2Schema, RefundNoticeSchema } from './schema.ts'

const XML = 'text/xml; charset=utf-8'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { paymentCallbacks, refundCallbacks } = app
  const fail = (reply: FastifyReply, status: number) => reply.code(status).type(XML).send(paymentCallbacks.failReply)
  takeRaw(app, { fail, refuseCompressed: (_request, reply) => fail(reply, 415) })

  const receiveBy = (callbacks: typeof paymentCallbacks | typeof refundCallbacks) =>
    async function receive(request: FastifyRequest<{ Params: { mchid: string } }>, reply: FastifyReply) {
      const { mchid } = request.params
      const { verdict, reason, id, status, answer } = await callbacks.receive(mchid, rawBody(request, { mchid }))
      noteOutcome(request, { verdict, reason, webhookId: id })
      return reply.code(status).type(XML).send(answer)
    }

  const options = (door: 'pay-v2' | 'pay-v2-refund') => ({
    config: { auth: 'wechat' as const, scope: 'callback' as const, door },
    bodyLimit: V2_BODY_LIMIT_BYTES
  })
  app.post('/:mchid/notify', { ...options('pay-v2'), schema: NotifyV2Schema }, receiveBy(paymentCallbacks))
  app.post('/:mchid/refund', { ...options('pay-v2-refund'), schema: RefundNoticeSchema }, receiveBy(refundCallbacks))
}

export default routes
