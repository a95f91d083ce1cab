/** Who may call what, and how often: every route says so in its config, and a route that does not stops the start. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { basicPassword } from '../lib/basic-auth.ts'
import { ServiceError } from '../lib/errors.ts'
import { observed } from '../lib/metrics/meters.ts'
import type { Session, SessionId } from '../lib/sessions/store.ts'
import type { CountedTogether } from './rate-limit.ts'

/** none: anybody; session: a token whose session is held; session-keys: the same, session_keys read along; internal: an API key; docs: the same, which a browser may send as a password; wechat: the handler verifies WeChat's signature itself. */
export type Guard = 'none' | 'session' | 'session-keys' | 'internal' | 'docs' | 'wechat'

export interface AuthOptions {
  internalApiKeys: readonly string[]
}

declare module 'fastify' {
  interface FastifyContextConfig {
    auth: Guard
    /** What the route's calls are counted with, for the limit of one client. Of routes for sessions all are counted. */
    limit?: CountedTogether
  }
  interface FastifyInstance {
    /** For a scope of routes that are not ours and cannot say config.auth: the guard of them all. */
    scopeGuard: Guard | undefined
  }
  interface FastifyRequest {
    /** Only on routes guarded by a session. */
    session: Session
    /** Only on routes guarded by session-keys; newest first. */
    sessionKeys: readonly Buffer[]
  }
}

export default fp<AuthOptions>(
  async (app: FastifyInstance, { internalApiKeys }) => {
    app.decorateRequest('session')
    app.decorateRequest('sessionKeys')
    const checks: Record<Guard, (limit?: CountedTogether) => onRequestAsyncHookHandler | undefined> = {
      none: (limit) => limit && ((request) => app.limits.count(limit, request)),
      session: (limit) => sessionGuard(app, readSession, limit),
      'session-keys': (limit) => sessionGuard(app, readSessionAndKeys, limit),
      internal: () => apiKeyGuard(internalApiKeys),
      docs: () => docsGuard(internalApiKeys),
      wechat: () => undefined
    }

    app.decorate('scopeGuard', undefined)
    app.addHook('onRoute', function guard(route) {
      const { auth = this.scopeGuard, limit } = route.config ?? {}
      if (auth === undefined) throw new Error(`${doorOf(route)} does not say in config.auth who may call it`)
      route.config = { ...route.config, auth }
      const check = checks[auth](limit)
      if (check !== undefined) route.onRequest = [check, ...[route.onRequest ?? []].flat()]
    })
  },
  { name: 'auth', dependencies: ['errors', 'meters', 'rate-limit', 'tokens'], fastify: '5.x' }
)

const doorOf = ({ method, url }: RouteOptions): string => `${String(method)} ${url}`

type ReadSession = (app: FastifyInstance, id: SessionId, request: FastifyRequest) => Promise<boolean>

const readSession: ReadSession = async ({ sessions }, id, request) => {
  const found = await sessions.find(id)
  if (found !== undefined) request.session = found
  return found !== undefined
}

const readSessionAndKeys: ReadSession = async ({ sessions }, id, request) => {
  const found = await sessions.findWithKeys(id)
  if (found !== undefined) Object.assign(request, found)
  return found !== undefined
}

/** Counted for its session and looked up at once, so that both go to Redis together. Who names no session is counted by address. */
function sessionGuard(
  app: FastifyInstance,
  read: ReadSession,
  limit: CountedTogether = 'all'
): onRequestAsyncHookHandler {
  return async (request) => {
    const id = await identify(app, request, limit)
    const reading = observed(() => read(app, id, request), app.meters.sessionRead)
    const [held] = await Promise.all([reading, app.limits.count(limit, request, id.sid)])
    if (!held) throw new ServiceError('SESSION_REVOKED')
  }
}

async function identify(app: FastifyInstance, request: FastifyRequest, limit: CountedTogether): Promise<SessionId> {
  try {
    const { aud, sub, sid } = app.tokens.read(bearer(request))
    request.appid = aud
    return { appid: aud, openid: sub, sid }
  } catch (error) {
    await app.limits.count(limit, request)
    throw error
  }
}

function bearer({ headers }: FastifyRequest): string {
  const { authorization } = headers
  if (authorization === undefined || /^(Bearer)? *$/i.test(authorization)) throw new ServiceError('TOKEN_MISSING')
  const [, token] = /^Bearer +(\S+) *$/i.exec(authorization) ?? []
  if (token === undefined)
    throw new ServiceError('TOKEN_INVALID', { message: 'Authorization has to be "Bearer <token>"' })
  return token
}

const digest = (text: string) => hash('sha256', text, 'buffer')

/** Compares digests, and all of them, so that the time taken tells nothing of any key. */
function apiKeyGuard(keys: readonly string[], keyOf = bearer): onRequestAsyncHookHandler {
  const digests = keys.map(digest)
  return async (request) => {
    const given = digest(keyOf(request))
    const matches = digests.filter((known) => timingSafeEqual(known, given)).length
    if (matches === 0) throw new ServiceError('TOKEN_INVALID', { message: 'This API key is not one of ours' })
  }
}

/** A browser asks its user for a name and a password when it is told so, and sends both along from then on; the key is the password. */
function docsGuard(keys: readonly string[]): onRequestAsyncHookHandler {
  const check = apiKeyGuard(keys, (request) => basicPassword(request.headers.authorization ?? '') ?? bearer(request))
  return async function (request, reply) {
    try {
      await check.call(this, request, reply)
    } catch (error) {
      reply.header('www-authenticate', 'Basic realm="wxgate docs"')
      throw error
    }
  }
}
