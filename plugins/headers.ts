/** The headers of every answer: helmet's, the request id, and no-store where an answer is one caller's own. */
import helmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { scopeOf } from './auth.ts'

/**
 * Answers are data; none is a page, so the headers that only a document obeys stay out, and nothing may be loaded or
 * framed.
 */
const HELMET: FastifyHelmetOptions = {
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false
}

/** What every answer of any server has, and helmet has no part in. */
const NOT_HELMETS = new Set(['connection', 'content-length', 'content-type', 'date'])

/**
 * Helmet's headers never change here, but it would compute them for every request: so it answers one, apart, and we
 * keep them.
 */
async function learnHeaders(): Promise<Record<string, string>> {
  const probe = fastify()
  await probe.register(helmet, HELMET)
  probe.get('/', async () => '')
  const { headers } = await probe.inject('/')
  await probe.close()
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !NOT_HELMETS.has(name))
      .map(([name, value]) => [name, String(value)])
  )
}

/** Also where no route was found, which has no scope: whoever asks there has something of their own to ask. */
function isPrivate(request: FastifyRequest): boolean {
  const scope = scopeOf(request)
  return scope !== 'callback' && scope !== 'operation'
}

export default fp(
  async (app: FastifyInstance) => {
    const open = await learnHeaders()
    const own = { ...open, 'cache-control': 'no-store' }

    let closing = false
    app.addHook('preClose', async () => {
      closing = true
    })

    app.addHook('onRequest', function head(request: FastifyRequest, reply: FastifyReply, done) {
      reply.headers(isPrivate(request) ? own : open).header('x-request-id', request.id)
      if (closing) reply.header('connection', 'close')
      done()
    })
  },
  { name: 'headers', fastify: '5.x' }
)
