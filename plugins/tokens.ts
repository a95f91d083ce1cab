/** `app.tokens`: what a client gets for its session, and who a token of ours names. */
import { createPublicKey, type JsonWebKey, randomBytes } from 'node:crypto'
import jwt, { type JWT } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import type { Session } from '../lib/sessions/model.ts'
import { latestEnd } from '../lib/sessions/record.ts'
import { writeRefreshToken } from '../lib/sessions/refresh.ts'
import type { JwtKey } from '../lib/settings/model.ts'

/** Verified tokens kept at a time: a signature costs more to verify than all else of a request. */
const VERIFIED_TOKENS_KEPT = 10_000

/** How far the clocks of two instances may be apart. */
const CLOCK_SKEW_MS = 60_000

export interface TokenOptions {
  /** The first signs, all verify. */
  jwtKeys: readonly JwtKey[]
  issuer: string
  tokenTtlSeconds: number
  /** No token is good for longer after the login; 0: none. */
  sessionMaxAgeSeconds: number
  /** Milliseconds since 1970. */
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

export interface Claims {
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

export interface Tokens {
  /** A token bound to app, openid and session, salted and signed, and the refresh token. */
  answer(session: Session): TokenAnswer
  /** What a token says that we signed, for an app that is configured here. Throws TOKEN_INVALID, TOKEN_EXPIRED. */
  read(token: string): Claims
  /** The same for whoever only asks: undefined where the token is refused, or its session has ended. */
  introspect(token: string): Promise<Claims | undefined>
  /** Throws TOKEN_INVALID where the session is of another app than the one named, if one is. */
  checkApp(session: Session, appid: string | undefined): void
  /** The public keys, as RFC 7517 writes them; none where a shared secret signs. */
  publicKeys: readonly JsonWebKey[]
}

declare module 'fastify' {
  interface FastifyInstance {
    tokens: Tokens
  }
}

export default fp<TokenOptions>(
  async (app: FastifyInstance, options) => {
    const { issuer, jwtKeys, tokenTtlSeconds, sessionMaxAgeSeconds, now } = options
    const issuers = await registerKeys(app, options)
    const verify = keepLatest(VERIFIED_TOKENS_KEPT, (token) => verifyAnew(issuers, token, now()))

    function read(token: string): Claims {
      const claims = verify(token)
      // The wechat plugin is registered later.
      if (!app.wechat.apps.knows(claims.aud))
        throw new ServiceError('TOKEN_INVALID', { detail: 'its app is not configured here' })
      if (claims.exp * 1000 <= now()) throw new ServiceError('TOKEN_EXPIRED')
      return claims
    }

    app.decorate('tokens', {
      read,
      publicKeys: jwtKeys.flatMap(publicKeyOf),

      answer(session) {
        const { openid, unionid, expiresAt } = session
        const iat = Math.floor(now() / 1000)
        // For those who look at its signature alone.
        const exp = Math.min(iat + tokenTtlSeconds, latestEnd(session.createdAt, sessionMaxAgeSeconds))
        return {
          token: issuers.signer.sign({ ...claimsOf(session, issuer), iat, exp }),
          tokenType: 'Bearer',
          expiresIn: Math.max(exp - iat, 0),
          refreshToken: writeRefreshToken(session, app.sealer),
          refreshExpiresIn: Math.max(expiresAt - iat, 0),
          openid,
          ...(unionid && { unionid })
        }
      },

      checkApp(session, appid) {
        if (appid !== undefined && session.appid !== appid)
          throw new ServiceError('TOKEN_INVALID', { message: 'This token is for another app; log in to this one' })
      },

      async introspect(token) {
        const claims = attempt(() => read(token))
        const id = claims && { appid: claims.aud, openid: claims.sub, sid: claims.sid }
        return id && (await app.sessions.find(id)) ? claims : undefined
      }
    })
  },
  { name: 'tokens', dependencies: ['sessions'], fastify: '5.x' }
)

const claimsOf = ({ appid, openid, sid, unionid }: Session, issuer: string): Omit<Claims, 'iat' | 'exp'> => ({
  iss: issuer,
  aud: appid,
  sub: openid,
  sid,
  jti: randomBytes(12).toString('base64url'),
  ...(unionid && { unionid })
})

interface Issuers {
  signer: JWT
  /**
   * By the token's first segment: it is the same text for every token of one key, so nothing in it has to be
   * believed.
   */
  byHeader: Map<string, JWT>
}

async function registerKeys(app: FastifyInstance, { jwtKeys, issuer }: TokenOptions): Promise<Issuers> {
  const byHeader = new Map<string, JWT>()
  for (const { kid, alg, signingKey, verifyingKey } of jwtKeys) {
    await app.register(jwt, {
      namespace: kid,
      secret: alg === 'HS256' ? signingKey : { private: signingKey, public: verifyingKey },
      sign: { algorithm: alg, kid },
      verify: {
        algorithms: [alg],
        allowedIss: issuer,
        requiredClaims: ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'],
        // By our own clock instead, also for tokens that were verified before.
        ignoreExpiration: true
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

/**
 * `verify` with its latest results kept, by the token itself; nothing is kept of tokens that it refuses, so nobody
 * else's fill the room.
 */
function keepLatest(most: number, verify: (token: string) => Claims): (token: string) => Claims {
  const kept = new Map<string, Claims>()
  return (token) => {
    const known = kept.get(token)
    if (known !== undefined) return known
    const claims = verify(token)
    if (kept.size >= most) kept.delete(kept.keys().next().value as string)
    kept.set(token, claims)
    return claims
  }
}

function verifyAnew(issuers: Issuers, token: string, nowMs: number): Claims {
  const claims = verifySignature(issuers, token)
  if (!isOurs(claims, nowMs)) throw new ServiceError('TOKEN_INVALID', { detail: 'its claims are not as we write them' })
  return claims
}

function verifySignature({ byHeader }: Issuers, token: string): Claims {
  const key = byHeader.get(firstSegment(token))
  if (key === undefined || !isCanonical(token)) throw new ServiceError('TOKEN_INVALID')
  try {
    return key.verify<Claims>(token)
  } catch (error) {
    throw new ServiceError('TOKEN_INVALID', { cause: error })
  }
}

/** Base64url ignores the spare bits of the last letter: without this check a token would have several spellings. */
function isCanonical(token: string): boolean {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  return Buffer.from(signature, 'base64url').toString('base64url') === signature
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''

/** The library sees that each claim is there, this that it is what we write; other services may share our secret. */
const isOurs = ({ aud, sub, sid, jti, iat, exp }: Claims, nowMs: number): boolean =>
  [aud, sub, sid, jti].every(isText) && [iat, exp].every(Number.isFinite) && iat * 1000 <= nowMs + CLOCK_SKEW_MS

function attempt(read: () => Claims): Claims | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof ServiceError) return undefined
    throw error
  }
}

const publicKeyOf = ({ kid, alg, verifyingKey }: JwtKey): JsonWebKey[] =>
  alg === 'HS256' ? [] : [{ ...createPublicKey(verifyingKey).export({ format: 'jwk' }), kid, alg, use: 'sig' }]
