import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { sessionFields } from '../../_shared/sessions.ts'
import { SessionSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { store: sessions } = app.sessions

  app.get(
    '/',
    { config: { auth: 'session', scope: 'public' }, schema: SessionSchema },
    async function show({ session }) {
      const { appid, openid, unionid } = session
      return { appid, openid, unionid, ...sessionFields(session), sessionKeyHeld: sessions.holdsKey(session) }
    }
  )
}

export default routes
