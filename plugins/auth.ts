/** Who may call what: every route says so in `config.auth`, and a route that does not stops the start. */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import jwt, { type JWT } from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { writeRefreshToken } from '../lib/sessions/refresh.ts'
import type { Sealer } from '../lib/sessions/seal.ts'
import type { Session, SessionId, SessionStore } from '../lib/sessions/store.ts'
import type { JwtKey } from '../lib/settings.ts'

/** Verified tokens kept at a time; they are verified anew when they fall out, and expire here as anywhere. */
const VERIFIED_TOKENS_KEPT = 10_000

/** none: anybody; session: a token whose session is held; session-keys: the same, session_keys read along; internal: an API key; wechat: the handler verifies WeChat's signature itself. */
export type Guard = 'none' | 'session' | 'session-keys' | 'internal' | 'wechat'

export interface AuthOptions {
  sessions: SessionStore
  sealer: Sealer
  jwtKeys: readonly JwtKey[]
  issuer: string
  tokenTtlSeconds: number
  internalApiKeys: readonly string[]
  now: () => number
}

export interface TokenAnswer {
  token: string
  tokenType: 'Bearer'
  /** Seconds, as the next one. */
  expiresIn: number
  refreshToken: string
  refreshExpiresIn: number
  openid: string
  unionid?: string
}

export interface Tokens {
  /** What a client gets for its session: a token bound to app, openid and session, salted and signed, and the refresh token. */
  answer(session: Session): TokenAnswer
}

declare module 'fastify' {
  interface FastifyContextConfig {
    auth: Guard
  }
  interface FastifyInstance {
    tokens: Tokens
  }
  interface FastifyRequest {
    /** Only on routes guarded by a session. */
    session: Session
    /** Only on routes guarded by session-keys; newest first. */
    sessionKeys: readonly Buffer[]
  }
}

interface Claims {
  iss: string
  aud: string
  sub: string
  sid: string
  jti: string
  /** Unix seconds, as the next one. */
  iat: number
  exp: number
  unionid?: string
}

export default fp<AuthOptions>(
  async (app: FastifyInstance, options) => {
    const { sessions, tokenTtlSeconds, now } = options
    const issuers = await registerKeys(app, options)

    /** Whom a token names: an app that is configured here (audience), a user, a session. */
    function identify(request: FastifyRequest): SessionId {
      const token = bearer(request)
      const issuer = issuers.byHeader.get(firstSegment(token))
      if (issuer === undefined) throw new ServiceError('TOKEN_INVALID')
      const { aud, sub, sid, exp } = verified(issuer, token)
      // `apps` comes with the wechat plugin, which is registered later.
      if (!app.apps.knows(aud)) throw new ServiceError('TOKEN_INVALID', { detail: 'its app is not configured here' })
      if (exp * 1000 <= now()) throw new ServiceError('TOKEN_EXPIRED')
      request.appid = aud
      return { appid: aud, openid: sub, sid }
    }

    const guards: Partial<Record<Guard, onRequestAsyncHookHandler>> = {
      session: async (request) => {
        const found = await sessions.find(identify(request))
        if (found === undefined) throw new ServiceError('SESSION_REVOKED')
        request.session = found
      },
      'session-keys': async (request) => {
        const found = await sessions.findWithKeys(identify(request))
        if (found === undefined) throw new ServiceError('SESSION_REVOKED')
        request.session = found.session
        request.sessionKeys = found.sessionKeys
      },
      internal: apiKeyGuard(options.internalApiKeys)
    }

    app.decorateRequest('session')
    app.decorateRequest('sessionKeys')
    app.addHook('onRoute', (route) => guardRoute(route, guards))
    app.decorate('tokens', {
      answer(session) {
        const { openid, unionid, expiresAt } = session
        return {
          token: issuers.signer.sign(claimsOf(session, options.issuer, now())),
          tokenType: 'Bearer',
          expiresIn: tokenTtlSeconds,
          refreshToken: writeRefreshToken(session, options.sealer),
          refreshExpiresIn: Math.max(expiresAt - Math.floor(now() / 1000), 0),
          openid,
          ...(unionid && { unionid })
        }
      }
    })
  },
  { name: 'auth', dependencies: ['errors'], fastify: '5.x' }
)

const claimsOf = ({ appid, openid, sid, unionid }: Session, issuer: string, nowMs: number): Omit<Claims, 'exp'> => ({
  iss: issuer,
  aud: appid,
  sub: openid,
  sid,
  jti: randomBytes(12).toString('base64url'),
  iat: Math.floor(nowMs / 1000),
  ...(unionid && { unionid })
})

interface Issuers {
  signer: JWT
  /** By the token's first segment: it is the same text for every token of one key, so nothing in it has to be believed. */
  byHeader: Map<string, JWT>
}

async function registerKeys(app: FastifyInstance, { jwtKeys, issuer, tokenTtlSeconds }: AuthOptions): Promise<Issuers> {
  const byHeader = new Map<string, JWT>()
  for (const { kid, alg, signingKey, verifyingKey } of jwtKeys) {
    await app.register(jwt, {
      namespace: kid,
      secret: alg === 'HS256' ? signingKey : { private: signingKey, public: verifyingKey },
      sign: { algorithm: alg, kid, expiresIn: tokenTtlSeconds },
      verify: {
        algorithms: [alg],
        allowedIss: issuer,
        requiredClaims: ['aud', 'sub', 'sid', 'jti', 'exp'],
        // By our own clock instead, also for tokens that come out of the cache.
        ignoreExpiration: true,
        cache: VERIFIED_TOKENS_KEPT
      }
    })
    const key = namespaced(app, kid)
    byHeader.set(firstSegment(key.sign({})), key)
  }
  const [first] = byHeader.values()
  if (first === undefined) throw new RangeError('at least one JWT key is needed')
  return { signer: first, byHeader }
}

const namespaced = (app: FastifyInstance, kid: string): JWT => (app.jwt as unknown as Record<string, JWT>)[kid] as JWT

const firstSegment = (token: string): string => token.slice(0, token.indexOf('.'))

function bearer({ headers }: FastifyRequest): string {
  const { authorization } = headers
  if (authorization === undefined || /^(Bearer)? *$/i.test(authorization)) throw new ServiceError('TOKEN_MISSING')
  const [, token] = /^Bearer +(\S+) *$/i.exec(authorization) ?? []
  if (token === undefined)
    throw new ServiceError('TOKEN_INVALID', { message: 'Authorization has to be "Bearer <token>"' })
  return token
}

function verified(issuer: JWT, token: string): Claims {
  try {
    return issuer.verify<Claims>(token)
  } catch (error) {
    throw new ServiceError('TOKEN_INVALID', { cause: error })
  }
}

const digest = (text: string) => hash('sha256', text, 'buffer')

/** Compares digests, and all of them, so that the time taken tells nothing of any key. */
function apiKeyGuard(keys: readonly string[]): onRequestAsyncHookHandler {
  const digests = keys.map(digest)
  return async (request) => {
    const given = digest(bearer(request))
    const matches = digests.filter((known) => timingSafeEqual(known, given)).length
    if (matches === 0) throw new ServiceError('TOKEN_INVALID', { message: 'This API key is not one of ours' })
  }
}

function guardRoute(route: RouteOptions, guards: Partial<Record<Guard, onRequestAsyncHookHandler>>): void {
  const guard = route.config?.auth
  if (guard === undefined)
    throw new Error(`${String(route.method)} ${route.url} does not say in config.auth who may call it`)
  const check = guards[guard]
  if (check !== undefined) route.onRequest = [check, ...[route.onRequest ?? []].flat()]
}
