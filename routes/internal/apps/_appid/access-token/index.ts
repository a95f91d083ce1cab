import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { isoTime } from '../../../../_shared/schemas.ts'
import { AccessTokenSchema, RenewSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'wechat' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { accessTokens, apps } = app.wechat

  app.get('/', { config, schema: AccessTokenSchema }, async function hand(request) {
    const { appid } = apps.pick(request.params.appid)
    request.appid = appid
    return shown(await accessTokens.get(appid))
  })

  app.post('/renew', { config, schema: RenewSchema }, async function renew(request) {
    const { appid } = apps.pick(request.params.appid)
    request.appid = appid
    return shown(await accessTokens.get(appid, request.body.accessToken))
  })
}

const shown = ({ token, expiresAt }: { token: string; expiresAt: number }) => ({
  accessToken: token,
  expiresAt: isoTime(expiresAt)
})

export default routes
