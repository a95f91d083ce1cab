/** The door for WeChat Pay's JSON: raw bytes whatever their label, and one face to everybody who cannot sign. */
import { hash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { NotifySchema } from './schema.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** WeChat has its own pauses; this is for whoever stands in between. */
const RETRY_AFTER_SECONDS = 1
const JSON_TYPE = 'application/json; charset=utf-8'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { paymentCallbacksV3: callbacks } = app
  const fail = (reply: FastifyReply, status: number) => reply.code(status).type(JSON_TYPE).send(callbacks.failReply)

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  /** Bytes and signature decide, not the label; but what is compressed is not what was signed. */
  app.addHook('onRequest', async function takeRaw(request: FastifyRequest, reply: FastifyReply) {
    const encoding = request.headers['content-encoding'] || 'identity'
    if (encoding.toLowerCase() !== 'identity') return fail(reply, 415)
    request.headers['content-type'] = 'application/octet-stream'
    return
  })

  app.setErrorHandler(function failed(error, request, reply) {
    const known = app.asPublicError(error)
    request.failure = known
    if (known.statusCode === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
    return fail(reply, known.statusCode ?? 500)
  })

  const config = { auth: 'wechat' as const, door: 'pay-v3' as const }
  const options = { config, bodyLimit: BODY_LIMIT_BYTES, schema: NotifySchema }
  app.post('/:mchid/notify', options, async function notify(request, reply) {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    const { mchid } = request.params
    request.verdict = { mchid, bytes: body.length, sha256: hash('sha256', body) }
    const { id, status, answer, ...seen } = await callbacks.receive(mchid, { headers: request.headers, body })
    request.verdict = { ...request.verdict, ...seen, webhookId: id }
    if (seen.verdict === 'quarantined')
      request.log.error(
        request.verdict,
        'an authentic notice contradicts our settings or our order; it waits in quarantine'
      )
    return answer === undefined ? reply.code(204).send(null) : fail(reply, status)
  })
}

export default routes
