/** The door to every API of WeChat that has no door of its own here: bytes in, bytes out. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorCodes, type FastifyRequest } from 'fastify'
import { readRawBodies } from '../../../../_shared/bodies.ts'
import { PassSchema, PostSchema } from './schema.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The Content-Type that came with bytes that are only passed on. */
    bodyType: string | undefined
  }
}

const BODY_LIMIT_BYTES = 10 * 1024 * 1024
/** Of /internal/apps/{appid}/wechat. */
const OUR_SEGMENTS = 4

/** The address from WeChat's path on, byte for byte: the router knows it only decoded. */
function targetOf({ raw: { url = '' } }: FastifyRequest): string {
  let at = url.startsWith('/') ? 0 : url.indexOf('/', url.indexOf('://') + 3)
  for (let segment = 0; segment < OUR_SEGMENTS; segment += 1) at = url.indexOf('/', at + 1)
  return url.slice(at)
}

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

  for (const method of passthrough.methods) {
    app.route({
      method,
      url: '/*',
      exposeHeadRoute: false,
      bodyLimit: BODY_LIMIT_BYTES,
      config: { auth: 'internal', keyScope: 'wechat' },
      schema: method === 'POST' ? PostSchema : PassSchema,
      onRequest: takeRaw,
      async handler(request, reply) {
        const { appid } = apps.pick(request.params.appid)
        request.appid = appid
        const body = Buffer.isBuffer(request.body) ? request.body : undefined
        const target = targetOf(request)
        const answer = await passthrough.send({ appid, method, target, contentType: request.bodyType, body })
        if (answer === undefined) throw new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY()
        return reply.code(answer.status).headers(answer.headers).send(answer.body)
      }
    })
  }
}

export default routes
