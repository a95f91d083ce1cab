import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LoginSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { tokens } = app
  const { logins } = app.wechat

  app.post(
    '/',
    { config: { auth: 'none', scope: 'public', limit: 'login', pageBody: true }, schema: LoginSchema },
    async function login(request) {
      const session = await logins.exchange(request.body)
      request.appid = session.appid
      return tokens.answer(session)
    }
  )
}

export default routes
