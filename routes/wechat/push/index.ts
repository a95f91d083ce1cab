/** The door for message push, with one face to everybody who cannot sign. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { BODY_LIMIT_BYTES, noteFailure, noteOutcome, rawBody, takeRaw } from '../raw-door.ts'
import { CheckPushUrlSchema, PushSchema } from './schema.ts'

const REFUSED = 403

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { pushes } = app
  const { apps } = app.wechat

  const send = (reply: FastifyReply, status: number, answer = pushes.refusal) =>
    reply.code(status).type(answer.contentType).send(answer.body)

  takeRaw(app, {
    fail: send,
    refuseCompressed(request, reply) {
      noteOutcome(request, { verdict: 'refused', reason: 'encoding' })
      return send(reply, REFUSED)
    }
  })

  const options = {
    config: { auth: 'wechat' as const, scope: 'callback' as const, door: 'push' as const },
    bodyLimit: BODY_LIMIT_BYTES
  }

  app.get(
    '/:appid',
    { ...options, exposeHeadRoute: false, schema: CheckPushUrlSchema },
    async function check(request, reply) {
      const { appid } = request.params
      request.appid = apps.knows(appid) ? appid : undefined
      const { verdict, reason, cause, answer } = await pushes.check(appid, request.query)
      noteOutcome(request, { verdict, reason })
      if (verdict === 'failed') return send(reply, noteFailure(app, cause, request, reply), answer)
      return send(reply, verdict === 'refused' ? REFUSED : 200, answer)
    }
  )

  app.post('/:appid', { ...options, schema: PushSchema }, async function receive(request, reply) {
    const { appid } = request.params
    request.appid = apps.knows(appid) ? appid : undefined
    const outcome = await pushes.receive(appid, request.query, rawBody(request))
    const { verdict, reason, id, kind, cause, answer } = outcome
    noteOutcome(request, { verdict, reason, kind, webhookId: id })
    if (verdict === 'failed') return send(reply, noteFailure(app, cause, request, reply), answer)
    return send(reply, verdict === 'refused' ? REFUSED : 200, answer)
  })
}

export default routes
