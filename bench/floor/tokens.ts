/** The floor's tokens: JWTs of HS256 or ES256. */
import { createHmac, createPublicKey, type KeyObject, randomBytes, sign, verify } from 'node:crypto'

export interface FloorClaims {
  aud: string
  sub: string
  sid: string
  unionid: string
  /** Unix seconds, as the next one. */
  iat: number
  exp: number
}

export const FLOOR_TOKEN_TTL_SECONDS = 7200

const DSA = 'ieee-p1363'

export class FloorTokens {
  readonly #key: KeyObject
  /** Only of a key pair. */
  readonly #publicKey: KeyObject | undefined
  readonly #head: string
  /** As the gateway does, it verifies a token once. A thousand users have one each, so no bound is needed. */
  readonly #verified = new Map<string, FloorClaims>()

  /** Secret: HS256. Private: ES256. */
  constructor(key: KeyObject) {
    this.#key = key
    this.#publicKey = key.type === 'private' ? createPublicKey(key) : undefined
    this.#head = encode({ alg: this.#publicKey === undefined ? 'HS256' : 'ES256', typ: 'JWT' })
  }

  issue(claims: Pick<FloorClaims, 'aud' | 'sub' | 'sid' | 'unionid'>): string {
    const iat = Math.floor(Date.now() / 1000)
    const jti = randomBytes(12).toString('base64url')
    const text = `${this.#head}.${encode({ ...claims, jti, iat, exp: iat + FLOOR_TOKEN_TTL_SECONDS })}`
    return `${text}.${this.#signatureOf(text)}`
  }

  /** Throws where the signature is wrong, or the time is over. */
  read(token: string): FloorClaims {
    const claims = this.#verified.get(token) ?? this.#verify(token)
    if (claims.exp * 1000 <= Date.now()) throw new Error('the token has run out')
    return claims
  }

  #verify(token: string): FloorClaims {
    const end = token.lastIndexOf('.')
    const text = token.slice(0, end)
    if (!this.#holds(text, token.slice(end + 1))) throw new Error('not a token of the floor')
    const claims = JSON.parse(Buffer.from(text.slice(text.indexOf('.') + 1), 'base64url').toString())
    this.#verified.set(token, claims)
    return claims
  }

  #signatureOf(text: string): string {
    if (this.#publicKey === undefined) return createHmac('sha256', this.#key).update(text).digest('base64url')
    return sign('sha256', Buffer.from(text), { key: this.#key, dsaEncoding: DSA }).toString('base64url')
  }

  #holds(text: string, signature: string): boolean {
    if (this.#publicKey === undefined) return this.#signatureOf(text) === signature
    const key = { key: this.#publicKey, dsaEncoding: DSA } as const
    return verify('sha256', Buffer.from(text), key, Buffer.from(signature, 'base64url'))
  }
}

const encode = (fields: object): string => Buffer.from(JSON.stringify(fields)).toString('base64url')
