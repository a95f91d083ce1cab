/** The first thing to get working through HTTPS. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { TestSchema } from './schema.ts'

const routes: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/', { config: { auth: 'none', scope: 'public', limit: 'all' }, schema: TestSchema }, async function test() {
    return { ok: 1 }
  })
}

export default routes
