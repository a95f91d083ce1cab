import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { CheckSessionKeySchema, ResetSessionKeySchema, SignSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'login' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { apps, sessionKeys } = app.wechat

  app.post('/check', { config, schema: CheckSessionKeySchema }, async function check(request) {
    request.appid = apps.pick(request.params.appid).appid
    return { valid: await sessionKeys.check(request.params) }
  })

  app.post('/reset', { config, schema: ResetSessionKeySchema }, async function reset(request, reply) {
    request.appid = apps.pick(request.params.appid).appid
    await sessionKeys.reset(request.params)
    return reply.code(204).send(null)
  })

  app.post('/sign', { config, schema: SignSchema }, async function sign(request) {
    request.appid = apps.pick(request.params.appid).appid
    return { signature: await sessionKeys.sign(request.params, request.body.data) }
  })
}

export default routes
