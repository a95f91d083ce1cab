import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { PhoneSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { userData } = app.wechat

  app.post(
    '/',
    { config: { auth: 'session-keys', scope: 'public', limit: 'phone', pageBody: true }, schema: PhoneSchema },
    async function phone(request) {
      return userData.phone(request.session, request.keyRing, request.body)
    }
  )
}

export default routes
