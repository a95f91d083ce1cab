import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AccessTokenSchema } from './schema.ts'

const config = { auth: 'internal', keyScope: 'wechat' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { accessTokens, apps } = app

  app.get('/', { config, schema: AccessTokenSchema }, async function hand(request) {
    const { appid } = apps.pick(request.params.appid)
    request.appid = appid
    const { token, expiresAt } = await accessTokens.get(appid)
    return { accessToken: token, expiresAt: new Date(expiresAt).toISOString() }
  })
}

export default routes
