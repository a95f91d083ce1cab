/** Passes calls on to every API of WeChat that has no endpoint of its own here: bytes in, bytes out. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorCodes, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { readRawBodies } from '../../../../_shared/bodies.ts'
import { ALLOWED_PATH, passByPath, passByQuery } from './schema.ts'
import { targetInPath, targetInQuery } from './target.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The Content-Type that came with bytes that are only passed on. */
    bodyType: string | undefined
  }
}

type PassRequest = FastifyRequest<{ Params: { appid: string } }>
type UpstreamMethod = FastifyInstance['wechat']['passthrough']['methods'][number]

const BODY_LIMIT_BYTES = 10 * 1024 * 1024
const TWO_PATHS = 'querystring/path stands beside a path in the address; keep one of them'
const COMPRESSED = 'The body is compressed; send it as it is, without the header content-encoding'
const WRONG_PATH = "querystring/path must be WeChat's path without its first slash, percent-encoded once"

/** Takes any Content-Type, which is for WeChat. Compressed bodies are refused: WeChat could not read them. */
async function takeRaw(request: FastifyRequest) {
  const { 'content-type': type, 'content-encoding': encoding = 'identity' } = request.headers
  if (encoding.toLowerCase() !== 'identity')
    throw Object.assign(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE(), { message: COMPRESSED })
  request.bodyType = type
  if (type !== undefined) request.headers['content-type'] = 'application/octet-stream'
}

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { apps, passthrough } = app.wechat

  readRawBodies(app)
  app.decorateRequest('bodyType', undefined)

  /** Passes a call on to where `targetOf` says; where it does not say, the call is refused with `fault`. */
  function passTo(targetOf: (request: FastifyRequest) => string | undefined, fault: string) {
    return async function pass(request: PassRequest, reply: FastifyReply) {
      const { appid } = apps.pick(request.params.appid)
      request.appid = appid
      const target = targetOf(request)
      if (target === undefined) throw new errorCodes.FST_ERR_VALIDATION(fault)
      const method = request.method as UpstreamMethod
      const body = Buffer.isBuffer(request.body) ? request.body : undefined
      const { headers, bodyType } = request
      const answer = await passthrough.send({ appid, method, target, headers, bodyType, body })
      if (answer === undefined) throw new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY()
      const { status, headers: answered, body: content } = answer
      reply.code(status).headers(answered)
      return Buffer.isBuffer(content) ? reply.send(content) : reply.sendOpen(content)
    }
  }

  for (const method of passthrough.methods) {
    const options = {
      method,
      exposeHeadRoute: false,
      bodyLimit: BODY_LIMIT_BYTES,
      config: { auth: 'internal' as const, scope: 'internal' as const, keyScope: 'wechat' as const },
      onRequest: takeRaw
    }
    app.route({
      ...options,
      url: '/*',
      schema: passByPath(method),
      handler: passTo(targetInPath, TWO_PATHS)
    })
    app.route({
      ...options,
      url: '/',
      schema: passByQuery(method),
      handler: passTo((request) => targetInQuery(request, ALLOWED_PATH), WRONG_PATH)
    })
  }
}

export default routes
