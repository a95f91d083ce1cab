import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { RefreshSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { tokens } = app
  const { refreshTokens } = app.wechat

  app.post(
    '/',
    { config: { auth: 'none', scope: 'public', limit: 'all', pageBody: true }, schema: RefreshSchema },
    async function refresh(request) {
      const session = await refreshTokens.renew(request.body.refreshToken)
      request.appid = session.appid
      return tokens.answer(session)
    }
  )
}

export default routes
