/** The door for message push: raw bytes whatever their label, and one face to everybody who cannot sign. */
import { hash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CheckSchema, PushSchema } from './schema.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** WeChat has its own pauses; this is for whoever stands in between. */
const RETRY_AFTER_SECONDS = 1
const REFUSED = 403

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { pushes, apps } = app

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  function fail(error: unknown, request: FastifyRequest, reply: FastifyReply, answer = pushes.refusal) {
    const known = app.asPublicError(error)
    request.failure = known
    if (known.statusCode === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
    return reply
      .code(known.statusCode ?? 500)
      .type(answer.contentType)
      .send(answer.body)
  }

  /** Bytes and signature decide, not the label; but what is compressed is not what was signed. */
  app.addHook('onRequest', async function takeRaw(request: FastifyRequest, reply: FastifyReply) {
    const encoding = request.headers['content-encoding'] || 'identity'
    if (encoding.toLowerCase() === 'identity') {
      request.headers['content-type'] = 'application/octet-stream'
      return
    }
    request.verdict = { verdict: 'refused', reason: 'encoding' }
    return reply.code(REFUSED).type(pushes.refusal.contentType).send(pushes.refusal.body)
  })

  app.setErrorHandler((error, request, reply) => fail(error, request, reply))

  const options = { config: { auth: 'wechat' as const, door: 'push' as const }, bodyLimit: BODY_LIMIT_BYTES }

  app.get('/:appid', { ...options, exposeHeadRoute: false, schema: CheckSchema }, async function check(request, reply) {
    const { appid } = request.params
    const { verdict, reason, answer } = pushes.check(appid, request.query)
    request.appid = apps.knows(appid) ? appid : undefined
    request.verdict = { verdict, reason }
    return reply
      .code(verdict === 'refused' ? REFUSED : 200)
      .type(answer.contentType)
      .send(answer.body)
  })

  app.post('/:appid', { ...options, schema: PushSchema }, async function receive(request, reply) {
    const { appid } = request.params
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    request.appid = apps.knows(appid) ? appid : undefined
    request.verdict = { bytes: body.length, sha256: hash('sha256', body) }
    const { verdict, reason, id, kind, cause, answer } = await pushes.receive(appid, request.query, body)
    request.verdict = { ...request.verdict, verdict, reason, kind, webhookId: id }
    if (verdict === 'unstored') return fail(cause, request, reply, answer)
    return reply
      .code(verdict === 'refused' ? REFUSED : 200)
      .type(answer.contentType)
      .send(answer.body)
  })
}

export default routes
