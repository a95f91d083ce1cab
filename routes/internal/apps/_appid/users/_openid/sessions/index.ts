import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ignoreBodies } from '../../../../../../_shared/bodies.ts'
import { sessionFields } from '../../../../../../_shared/sessions.ts'
import { ListSessionsSchema, RevokeSessionSchema, RevokeSessionsSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'login' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { store: sessions } = app.sessions
  const { apps } = app.wechat

  ignoreBodies(app)

  app.get('/', { config, schema: ListSessionsSchema }, async function list(request) {
    const { appid, openid } = request.params
    const { limit, cursor } = request.query
    request.appid = apps.pick(appid).appid
    const { items, next } = await sessions.list({ appid, openid }, { limit: Number(limit), ...(cursor && { cursor }) })
    return {
      items: items.map(sessionFields),
      ...(next && { next })
    }
  })

  app.delete('/', { config, schema: RevokeSessionsSchema }, async function revoke(request, reply) {
    const { appid, openid } = request.params
    request.appid = apps.pick(appid).appid
    await sessions.closeAll({ appid, openid })
    return reply.code(204).send(null)
  })

  app.delete('/:sessionId', { config, schema: RevokeSessionSchema }, async function revokeOne(request, reply) {
    const { appid, openid, sessionId } = request.params
    request.appid = apps.pick(appid).appid
    await sessions.close({ appid, openid, sid: sessionId })
    return reply.code(204).send(null)
  })
}

export default routes
