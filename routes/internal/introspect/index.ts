import formbody from '@fastify/formbody'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { IntrospectSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'login' } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { tokens } = app
  await app.register(formbody)

  app.post('/', { config, schema: IntrospectSchema }, async function introspect({ body }) {
    const claims = await tokens.introspect(body.token)
    return claims === undefined ? { active: false as const } : { active: true as const, ...claims }
  })
}

export default routes
