import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserDataSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { userData } = app.wechat

  app.post(
    '/',
    { config: { auth: 'session-keys', scope: 'public', pageBody: true }, schema: UserDataSchema },
    async function readUserData(request) {
      return { data: await userData.read(request.session, request.keyRing, request.body) }
    }
  )
}

export default routes
