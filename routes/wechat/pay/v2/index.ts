/** The door for WeChat Pay's XML: raw bytes whatever their label, and one face to everybody who cannot sign. */
import { hash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { NotifySchema, RefundSchema } from './schema.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** WeChat has its own pauses; this is for whoever stands in between. */
const RETRY_AFTER_SECONDS = 1
const XML = 'text/xml; charset=utf-8'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { paymentCallbacks, refundCallbacks } = app
  const { failReply } = paymentCallbacks

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  /** Bytes and signature decide, not the label; but what is compressed is not what was signed. */
  app.addHook('onRequest', async function takeRaw(request: FastifyRequest, reply: FastifyReply) {
    const encoding = request.headers['content-encoding'] || 'identity'
    if (encoding.toLowerCase() !== 'identity') return reply.code(415).type(XML).send(failReply)
    request.headers['content-type'] = 'application/octet-stream'
    return
  })

  app.setErrorHandler(function fail(error, request, reply) {
    const known = app.asPublicError(error)
    request.failure = known
    if (known.statusCode === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
    return reply
      .code(known.statusCode ?? 500)
      .type(XML)
      .send(failReply)
  })

  const receiveBy = (callbacks: typeof paymentCallbacks | typeof refundCallbacks) =>
    async function receive(request: FastifyRequest<{ Params: { mchid: string } }>, reply: FastifyReply) {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const { mchid } = request.params
      request.verdict = { mchid, bytes: body.length, sha256: hash('sha256', body) }
      const { verdict, reason, id, status, answer } = await callbacks.receive(mchid, body)
      request.verdict = { ...request.verdict, verdict, reason, webhookId: id }
      if (verdict === 'quarantined')
        request.log.error(
          request.verdict,
          'an authentic notice contradicts our settings or our order; it waits in quarantine'
        )
      return reply.code(status).type(XML).send(answer)
    }

  const options = (door: 'pay-v2' | 'pay-v2-refund') => ({
    config: { auth: 'wechat' as const, door },
    bodyLimit: BODY_LIMIT_BYTES
  })
  app.post('/:mchid/notify', { ...options('pay-v2'), schema: NotifySchema }, receiveBy(paymentCallbacks))
  app.post('/:mchid/refund', { ...options('pay-v2-refund'), schema: RefundSchema }, receiveBy(refundCallbacks))
}

export default routes
