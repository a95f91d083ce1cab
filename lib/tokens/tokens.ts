/** What a client gets for its session, and who a token of ours names. */
import { type JsonWebKey, randomBytes } from 'node:crypto'
import type { Sealer } from '../crypto/seal.ts'
import { ServiceError } from '../errors.ts'
import type { Session } from '../sessions/model.ts'
import { latestEnd } from '../sessions/record.ts'
import { writeRefreshToken } from '../sessions/refresh-tokens.ts'
import type { SessionStore } from '../sessions/store.ts'

/** Verified tokens kept at a time: a signature costs more to verify than all else of a request. */
const VERIFIED_TOKENS_KEPT = 10_000

/** How far the clocks of two instances may be apart. */
const CLOCK_SKEW_MS = 60_000

export interface TokenPair {
  token: string
  tokenType: 'Bearer'
  /** Seconds, as the next one. */
  expiresIn: number
  refreshToken: string
  refreshExpiresIn: number
  openid: string
  unionid: string | undefined
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
  unionid: string | undefined
}

/** Signs and verifies with one key. */
export interface JwtSigner {
  sign(claims: object): string
  /** Checks signature, issuer, and that each claim is there; not its times. Throws. */
  verify(token: string): Claims
}

export interface TokensOptions {
  /** The first signs, all verify. */
  signers: readonly JwtSigner[]
  publicKeys: readonly JsonWebKey[]
  issuer: string
  tokenTtlSeconds: number
  /** No token is good for longer after the login; 0: none. */
  sessionMaxAgeSeconds: number
  sealer: Sealer
  sessions: Pick<SessionStore, 'find'>
  /** Whether an app is configured here. */
  knowsApp: (appid: string) => boolean
  /** Milliseconds since 1970. */
  now: () => number
}

export class Tokens {
  /** The public keys, as RFC 7517 writes them; none where a shared secret signs. */
  readonly publicKeys: readonly JsonWebKey[]
  readonly #options: TokensOptions
  readonly #signer: JwtSigner
  /**
   * By the token's first segment: it is the same text for every token of one key, so nothing in it has to be
   * believed.
   */
  readonly #byHeader: ReadonlyMap<string, JwtSigner>
  /** What was verified last, by the token itself. Of refused tokens nothing is kept, so they fill no room. */
  readonly #verified = new Map<string, Claims>()

  constructor(options: TokensOptions) {
    const [first] = options.signers
    if (first === undefined) throw new RangeError('at least one JWT key is needed')
    this.publicKeys = options.publicKeys
    this.#options = options
    this.#signer = first
    this.#byHeader = new Map(options.signers.map((signer) => [firstSegment(signer.sign({})), signer]))
  }

  /** A token bound to app, openid and session, salted and signed, and the refresh token. */
  answer(session: Session): TokenPair {
    const { issuer, tokenTtlSeconds, sessionMaxAgeSeconds, sealer, now } = this.#options
    const { openid, unionid, expiresAt } = session
    const iat = Math.floor(now() / 1000)
    // For those who look at its signature alone.
    const exp = Math.min(iat + tokenTtlSeconds, latestEnd(session.createdAt, sessionMaxAgeSeconds))
    return {
      token: this.#signer.sign({ ...claimsOf(session, issuer), iat, exp }),
      tokenType: 'Bearer',
      expiresIn: Math.max(exp - iat, 0),
      refreshToken: writeRefreshToken(session, sealer),
      refreshExpiresIn: Math.max(expiresAt - iat, 0),
      openid,
      unionid
    }
  }

  /** What a token says that we signed, for an app that is configured here. Throws TOKEN_INVALID, TOKEN_EXPIRED. */
  read(token: string): Claims {
    const claims = this.#verify(token)
    if (!this.#options.knowsApp(claims.aud))
      throw new ServiceError('TOKEN_INVALID', { detail: 'its app is not configured here' })
    if (claims.exp * 1000 <= this.#options.now()) throw new ServiceError('TOKEN_EXPIRED')
    return claims
  }

  /** The same for whoever only asks: undefined where the token is refused, or its session has ended. */
  async introspect(token: string): Promise<Claims | undefined> {
    const claims = this.#readIfValid(token)
    const id = claims && { appid: claims.aud, openid: claims.sub, sid: claims.sid }
    return id && (await this.#options.sessions.find(id)) ? claims : undefined
  }

  /** Throws TOKEN_INVALID where the session is of another app than the one named, if one is. */
  checkApp(session: Session, appid: string | undefined): void {
    if (appid !== undefined && session.appid !== appid)
      throw new ServiceError('TOKEN_INVALID', { message: 'This token is for another app; log in to this one' })
  }

  #readIfValid(token: string): Claims | undefined {
    try {
      return this.read(token)
    } catch (error) {
      if (error instanceof ServiceError) return undefined
      throw error
    }
  }

  #verify(token: string): Claims {
    const known = this.#verified.get(token)
    if (known !== undefined) return known
    const claims = this.#verifySignature(token)
    if (!isOurs(claims, this.#options.now()))
      throw new ServiceError('TOKEN_INVALID', { detail: 'its claims are not as we write them' })
    if (this.#verified.size >= VERIFIED_TOKENS_KEPT) this.#verified.delete(this.#verified.keys().next().value as string)
    this.#verified.set(token, claims)
    return claims
  }

  #verifySignature(token: string): Claims {
    const signer = this.#byHeader.get(firstSegment(token))
    if (signer === undefined || !isCanonical(token)) throw new ServiceError('TOKEN_INVALID')
    try {
      return signer.verify(token)
    } catch (error) {
      throw new ServiceError('TOKEN_INVALID', { cause: error })
    }
  }
}

const claimsOf = ({ appid, openid, sid, unionid }: Session, issuer: string): Omit<Claims, 'iat' | 'exp'> => ({
  iss: issuer,
  aud: appid,
  sub: openid,
  sid,
  jti: randomBytes(12).toString('base64url'),
  unionid
})

const firstSegment = (token: string): string => token.slice(0, token.indexOf('.'))

/** Base64url ignores the spare bits of the last letter: without this check a token would have several spellings. */
function isCanonical(token: string): boolean {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  return Buffer.from(signature, 'base64url').toString('base64url') === signature
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''

/** The library sees that each claim is there, this that it is what we write; other services may share our secret. */
const isOurs = ({ aud, sub, sid, jti, iat, exp }: Claims, nowMs: number): boolean =>
  [aud, sub, sid, jti].every(isText) && [iat, exp].every(Number.isFinite) && iat * 1000 <= nowMs + CLOCK_SKEW_MS
