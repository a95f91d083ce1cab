import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { SessionSchema } from './schema.ts'

const isoTime = (seconds: number): string => new Date(seconds * 1000).toISOString()

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { sessions } = app

  app.get('/', { config: { auth: 'session' }, schema: SessionSchema }, async function show({ session }) {
    const { appid, openid, unionid, sid, createdAt, expiresAt } = session
    return {
      appid,
      openid,
      ...(unionid && { unionid }),
      sessionId: sid,
      createdAt: isoTime(createdAt),
      expiresAt: isoTime(expiresAt),
      sessionKeyHeld: sessions.holdsKey(session)
    }
  })
}

export default routes
