import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { VerifySchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { tokens } = app

  app.get(
    '/',
    { config: { auth: 'session', scope: 'public' }, schema: VerifySchema },
    async function verify({ session, query }, reply) {
      tokens.checkApp(session, query.appid)
      reply.headers({ 'x-wx-appid': session.appid, 'x-wx-openid': session.openid, 'x-wx-session': session.sid })
      if (session.unionid !== undefined) reply.header('x-wx-unionid', session.unionid)
      return { active: true as const }
    }
  )
}

export default routes
