/** The door for WeChat Pay's JSON, with one face to everybody who cannot sign. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { BODY_LIMIT_BYTES, noteOutcome, rawBody, takeRaw } from '../../raw-door.ts'
import { NotifyV3Schema } from './schema.ts'

const JSON_TYPE = 'application/json; charset=utf-8'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { paymentCallbacksV3: callbacks } = app
  const fail = (reply: FastifyReply, status: number) => reply.code(status).type(JSON_TYPE).send(callbacks.failReply)
  takeRaw(app, { fail, refuseCompressed: (_request, reply) => fail(reply, 415) })

  const config = { auth: 'wechat' as const, scope: 'callback' as const, door: 'pay-v3' as const }
  const options = { config, bodyLimit: BODY_LIMIT_BYTES, schema: NotifyV3Schema }
  app.post('/:mchid/notify', options, async function notify(request, reply) {
    const { mchid } = request.params
    const message = { headers: request.headers, body: rawBody(request, { mchid }) }
    const { id, status, answer, ...seen } = await callbacks.receive(mchid, message)
    noteOutcome(request, { ...seen, webhookId: id })
    return answer === undefined ? reply.code(204).send(null) : fail(reply, status)
  })
}

export default routes
