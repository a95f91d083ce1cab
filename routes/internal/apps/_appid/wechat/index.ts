/** The door to every API of WeChat that has no door of its own here: bytes in, bytes out. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorCodes, type FastifyReply, type FastifyRequest } from 'fastify'
import { readRawBodies } from '../../../../_shared/bodies.ts'
import { ALLOWED_PATH, PassByQuerySchema, PassSchema, PostByQuerySchema, PostSchema } from './schema.ts'
import { targetInPath, targetInQuery } from './target.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The Content-Type that came with bytes that are only passed on. */
    bodyType: string | undefined
  }
}

const BODY_LIMIT_BYTES = 10 * 1024 * 1024
const TWO_PATHS = 'querystring/path stands beside a path in the address; keep one of them'
const WRONG_PATH = "querystring/path must be WeChat's path without its first slash, percent-encoded once"

/** The label is WeChat's to read; here any will do. What is compressed is not passed on: WeChat could not read it. */
async function takeRaw(request: FastifyRequest) {
  const { 'content-type': type, 'content-encoding': encoding = 'identity' } = request.headers
  if (encoding.toLowerCase() !== 'identity') throw new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()
  request.bodyType = type
  if (type !== undefined) request.headers['content-type'] = 'application/octet-stream'
}

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { apps, passthrough } = app

  readRawBodies(app)
  app.decorateRequest('bodyType', undefined)

  interface Call {
    appid: string
    method: (typeof passthrough.methods)[number]
    target: string
  }

  async function pass(request: FastifyRequest, reply: FastifyReply, call: Call) {
    const body = Buffer.isBuffer(request.body) ? request.body : undefined
    const headers = { ...request.headers, 'content-type': request.bodyType }
    const answer = await passthrough.send({ ...call, headers, body })
    if (answer === undefined) throw new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY()
    return reply.code(answer.status).headers(answer.headers).send(answer.body)
  }

  for (const method of passthrough.methods) {
    const options = {
      method,
      exposeHeadRoute: false,
      bodyLimit: BODY_LIMIT_BYTES,
      config: { auth: 'internal' as const, keyScope: 'wechat' as const },
      onRequest: takeRaw
    }
    app.route({
      ...options,
      url: '/*',
      schema: method === 'POST' ? PostSchema : PassSchema,
      async handler(request, reply) {
        const { appid } = apps.pick(request.params.appid)
        request.appid = appid
        const target = targetInPath(request)
        if (target === undefined) throw new errorCodes.FST_ERR_VALIDATION(TWO_PATHS)
        return pass(request, reply, { appid, method, target })
      }
    })
    app.route({
      ...options,
      url: '/',
      schema: method === 'POST' ? PostByQuerySchema : PassByQuerySchema,
      async handler(request, reply) {
        const { appid } = apps.pick(request.params.appid)
        request.appid = appid
        const target = targetInQuery(request, ALLOWED_PATH)
        if (target === undefined) throw new errorCodes.FST_ERR_VALIDATION(WRONG_PATH)
        return pass(request, reply, { appid, method, target })
      }
    })
  }
}

export default routes
