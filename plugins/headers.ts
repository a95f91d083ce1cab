/** The headers of every answer: helmet's, computed once since they never change, the request id, and no-store. */
import helmet from '@fastify/helmet'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

/** Doors whose answers are one caller's own. */
const PRIVATE_DOORS = ['/api', '/internal']

/** Answers are data; none is a page. */
const NOTHING_TO_SHOW = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] }

export default fp(
  async (app: FastifyInstance) => {
    await app.register(helmet, {
      global: false,
      contentSecurityPolicy: { useDefaults: false, directives: NOTHING_TO_SHOW }
    })
    let constant: Record<string, string> | undefined

    /** Lets helmet write its headers on one answer, and keeps them. */
    async function learn(reply: FastifyReply): Promise<Record<string, string>> {
      await reply.helmet()
      return Object.fromEntries(Object.entries(reply.raw.getHeaders()).map(([name, value]) => [name, String(value)]))
    }

    app.addHook('onRequest', async function head(request: FastifyRequest, reply: FastifyReply) {
      if (constant === undefined) constant = await learn(reply)
      reply.headers(constant).header('x-request-id', request.id)
      const url = request.routeOptions.url
      if (url !== undefined && PRIVATE_DOORS.some((door) => url.startsWith(door)))
        reply.header('cache-control', 'no-store')
    })
  },
  { name: 'headers', fastify: '5.x' }
)
