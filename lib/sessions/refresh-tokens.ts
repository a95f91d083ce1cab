/**
 * Refresh tokens: each works once, and a stolen one ends the session that it belongs to. They are signed, not stored:
 * the generation in the session's record says whether one still holds.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Sealer } from '../crypto/seal.ts'
import { ServiceError } from '../errors.ts'
import { type Meters, observed } from '../metrics/meters.ts'
import type { RefreshClaims, Session } from './model.ts'
import type { SessionStore } from './store.ts'

export interface RefreshTokensOptions {
  sessions: Pick<SessionStore, 'renew'>
  sealer: Sealer
  /** Whether an app is configured here. */
  knowsApp: (appid: string) => boolean
  meters: Pick<Meters, 'refresh'>
  /** Milliseconds since 1970. */
  now: () => number
}

export class RefreshTokens {
  readonly #options: RefreshTokensOptions

  constructor(options: RefreshTokensOptions) {
    this.#options = options
  }

  /** Throws REFRESH_INVALID, REFRESH_EXPIRED, REFRESH_REUSED, SESSION_REVOKED. */
  renew(refreshToken: string): Promise<Session> {
    const { sealer, meters } = this.#options
    const claims = readRefreshToken(refreshToken, sealer)
    return observed(
      () => this.#renew(claims),
      (outcome) => meters.refresh(claims?.appid, outcome)
    )
  }

  async #renew(claims: RefreshClaims | undefined): Promise<Session> {
    const { sessions, knowsApp, now } = this.#options
    if (claims === undefined || !knowsApp(claims.appid)) throw new ServiceError('REFRESH_INVALID')
    if (claims.expiresAt * 1000 <= now()) throw new ServiceError('REFRESH_EXPIRED')
    const renewed = await sessions.renew(claims)
    if (renewed.status === 'gone') throw new ServiceError('SESSION_REVOKED')
    if (renewed.status === 'reused') throw new ServiceError('REFRESH_REUSED')
    return renewed.session
  }
}

const SEPARATOR = '|'

/**
 * `base64url(appid|openid|sid|generation|expires|key id).base64url(HMAC-SHA256)`: bound to this session and to its
 * generation.
 */
export function writeRefreshToken(
  { appid, openid, sid, generation, expiresAt }: RefreshClaims,
  sealer: Sealer
): string {
  const payload = Buffer.from([appid, openid, sid, generation, expiresAt, sealer.currentId].join(SEPARATOR)).toString(
    'base64url'
  )
  return `${payload}.${mac(payload, sealer.currentId, sealer)}`
}

/** undefined where the token is not one of ours, letter by letter, or its key is no longer held. */
export function readRefreshToken(token: string, sealer: Sealer): RefreshClaims | undefined {
  const [payload = '', signature = '', ...more] = token.split('.')
  const [appid, openid, sid, generation, expiresAt, keyId] = Buffer.from(payload, 'base64url')
    .toString()
    .split(SEPARATOR)
  if (!appid || !openid || !sid || !generation || !expiresAt || !keyId || more.length > 0) return undefined
  const expected = Buffer.from(mac(payload, keyId, sealer) ?? '')
  const given = Buffer.from(signature)
  if (expected.length === 0 || given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
  return { appid, openid, sid, generation: Number(generation), expiresAt: Number(expiresAt) }
}

function mac(payload: string, keyId: string, sealer: Sealer): string | undefined {
  const key = sealer.derive('refresh', keyId)
  return key && createHmac('sha256', key).update(payload).digest('base64url')
}
