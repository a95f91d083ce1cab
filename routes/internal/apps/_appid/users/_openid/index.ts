import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ignoreBodies } from '../../../../../_shared/bodies.ts'
import { isoTime } from '../../../../../_shared/schemas.ts'
import { sessionFields } from '../../../../../_shared/sessions.ts'
import { EraseSchema, ShowSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'login' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { users } = app.sessions
  const { apps } = app.wechat

  ignoreBodies(app)

  app.get('/', { config, schema: ShowSchema }, async function show(request) {
    const { appid, openid } = request.params
    request.appid = apps.pick(appid).appid
    const { unionid, sessions, sessionKeyEnds, counts } = await users.describe({ appid, openid })
    return {
      appid,
      openid,
      ...(unionid && { unionid }),
      sessions: sessions.map(sessionFields),
      sessionKeys: sessionKeyEnds.map((seconds) => ({ expiresAt: isoTime(seconds * 1000) })),
      counts: counts.map(({ name, count, endsAtMs }) => ({ name, count, endsAt: isoTime(endsAtMs) }))
    }
  })

  app.delete('/', { config, schema: EraseSchema }, async function erase(request, reply) {
    const { appid, openid } = request.params
    request.appid = apps.pick(appid).appid
    await users.erase({ appid, openid })
    return reply.code(204).send(null)
  })
}

export default routes
