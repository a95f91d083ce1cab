import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { isoTime } from '../../_shared/time.ts'
import { SessionSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { store: sessions } = app.sessions

  app.get(
    '/',
    { config: { auth: 'session', scope: 'public' }, schema: SessionSchema },
    async function show({ session }) {
      const { appid, openid, unionid, sid, createdAt, expiresAt } = session
      return {
        appid,
        openid,
        unionid,
        sessionId: sid,
        createdAt: isoTime(createdAt * 1000),
        expiresAt: isoTime(expiresAt * 1000),
        sessionKeyHeld: sessions.holdsKey(session)
      }
    }
  )
}

export default routes
