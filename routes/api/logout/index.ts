import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LogoutSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { store: sessions } = app.sessions

  app.post(
    '/',
    { config: { auth: 'session', scope: 'public', pageBody: true }, schema: LogoutSchema },
    async function logout(request, reply) {
      await sessions.close(request.session, request.body?.everywhere)
      return reply.code(204).send(null)
    }
  )
}

export default routes
