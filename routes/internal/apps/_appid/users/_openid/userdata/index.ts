import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { DataOfUserSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'login', pageBody: true } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { sessionKeys } = app.sessions
  const { apps, userData } = app.wechat

  app.post('/', { config, schema: DataOfUserSchema }, async function readDataOfUser(request) {
    const { params, body } = request
    request.appid = apps.pick(params.appid).appid
    return { data: await userData.read(params, await sessionKeys.ringOf(params), body) }
  })
}

export default routes
