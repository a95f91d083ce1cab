import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LogoutSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { sessions } = app
  const parseJson = app.getDefaultJsonParser('error', 'error')

  // wx.request says application/json also where it sends no body.
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '') done(null)
    else parseJson(request, text, done)
  })

  app.post('/', { config: { auth: 'session' }, schema: LogoutSchema }, async function logout(request, reply) {
    await sessions.close(request.session, request.body?.everywhere)
    return reply.code(204).send(null)
  })
}

export default routes
