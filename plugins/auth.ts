/** Who may call what, and how often: every route says so in its config, and a route that does not stops the start. */
import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyRequest,
  onRequestAsyncHookHandler,
  RouteOptions
} from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { type Outcome, observed } from '../lib/metrics/meters.ts'
import type { KeyRing, Session, SessionId } from '../lib/sessions/model.ts'
import { KEY_SCOPES, type KeyScope } from '../lib/settings/api-keys.ts'
import type { Settings } from '../lib/settings/model.ts'
import { apiKeyGuard, docsGuard } from './auth/api-key-guard.ts'
import { bearer } from './auth/authorization.ts'
import { scopesOpening } from './auth/key-scopes.ts'
import type { CountedTogether } from './rate-limit.ts'

/**
 * none: anybody; session: a token whose session is held; session-keys: the same, session_keys read along; internal:
 * an API key; docs: the same, which a browser may send as a password; wechat: the handler verifies WeChat's signature
 * itself.
 */
export type Guard = 'none' | 'session' | 'session-keys' | 'internal' | 'docs' | 'wechat'

/**
 * Who a route is for. public: mini-programs; internal: the merchant's backend; callback: WeChat's servers; operation:
 * whoever runs this. What has to be told of a route is told by this, never by its URL.
 */
export type RouteScope = 'public' | 'internal' | 'callback' | 'operation'

/** undefined if no route was found. */
export const scopeOf = ({ routeOptions: { config } }: FastifyRequest): RouteScope | undefined =>
  (config as Partial<FastifyContextConfig>).scope

declare module 'fastify' {
  interface FastifyContextConfig {
    auth: Guard
    scope: RouteScope
    /** With `internal`: the scope of an API key that opens the route. `read` opens what only reads as well. */
    keyScope?: KeyScope
    /** What the route's calls are counted with, for the limit of one client. Of routes for sessions all are counted. */
    limit?: CountedTogether
  }
  interface FastifyInstance {
    /** For plugins whose routes are not ours and cannot say it in their config: guard and scope of them all. */
    routeDefaults: Pick<FastifyContextConfig, 'auth' | 'scope'> | undefined
  }
  interface FastifyRequest {
    /** Only on routes guarded by a session. */
    session: Session
    /** The name of the API key that was used, where it has one. */
    caller: string | undefined
    /** Only on routes guarded by session-keys. */
    keyRing: KeyRing
  }
}

export default fp<Settings['auth']>(
  async (app: FastifyInstance, { internalApiKeys }) => {
    app.decorateRequest('session')
    app.decorateRequest('keyRing')
    app.decorateRequest('caller', undefined)
    const checks: Record<Guard, (route: GuardedRoute) => onRequestAsyncHookHandler | undefined> = {
      none: ({ limit }) => limit && ((request) => app.limits.count(limit, request)),
      session: ({ limit }) => sessionGuard(app, readSession, limit),
      'session-keys': ({ limit }) => sessionGuard(app, readSessionAndKeys, limit),
      internal: ({ scopes }) => apiKeyGuard(internalApiKeys, scopes),
      docs: () => docsGuard(internalApiKeys, KEY_SCOPES),
      wechat: () => undefined
    }

    app.decorate('routeDefaults', undefined)
    app.addHook('onRoute', function guard(route) {
      const { auth, scope, limit, keyScope } = { ...this.routeDefaults, ...route.config }
      if (auth === undefined) throw new Error(`${doorOf(route)} does not say in config.auth who may call it`)
      if ((auth === 'internal') !== (keyScope !== undefined))
        throw new Error(`${doorOf(route)} has to have config.keyScope with config.auth internal, and with no other`)
      if (scope === undefined) throw new Error(`${doorOf(route)} does not say in config.scope who it is for`)
      route.config = { ...route.config, auth, scope }
      const scopes = keyScope === undefined ? [] : scopesOpening(keyScope, route.method)
      const check = checks[auth]({ limit, scopes })
      if (check !== undefined) route.onRequest = [check, ...[route.onRequest ?? []].flat()]
    })
  },
  { name: 'auth', dependencies: ['errors', 'meters', 'rate-limit', 'tokens'], fastify: '5.x' }
)

interface GuardedRoute {
  limit: CountedTogether | undefined
  /** Any of these opens it. */
  scopes: readonly KeyScope[]
}

const doorOf = ({ method, url }: RouteOptions): string => `${String(method)} ${url}`

type ReadSession = (app: FastifyInstance, id: SessionId, request: FastifyRequest) => Promise<boolean>

const readSession: ReadSession = async ({ sessions }, id, request) => {
  const found = await sessions.store.find(id)
  if (found !== undefined) request.session = found
  return found !== undefined
}

const readSessionAndKeys: ReadSession = async ({ sessions }, id, request) => {
  const found = await sessions.store.findWithKeys(id)
  if (found !== undefined) Object.assign(request, { session: found.session, keyRing: found })
  return found !== undefined
}

/**
 * Counted for its session and looked up at once, so that both go to Redis together. Who names no session is counted
 * by address.
 */
function sessionGuard(
  app: FastifyInstance,
  read: ReadSession,
  limit: CountedTogether = 'all'
): onRequestAsyncHookHandler {
  const { meters } = app
  const count = (outcome: Outcome, seconds: number) => meters.sessionRead(outcome, seconds)
  return async (request) => {
    const id = await identify(app, request, limit)
    const reading = observed(() => read(app, id, request), count)
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
