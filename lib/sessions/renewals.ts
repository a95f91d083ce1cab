/** Refresh tokens in, sessions out: each token works once, and a stolen one ends the session it belongs to. */

import type { Sealer } from '../crypto/seal.ts'
import { ServiceError } from '../errors.ts'
import { type Meters, observed } from '../metrics/meters.ts'
import type { RefreshClaims, Session } from './model.ts'
import { readRefreshToken } from './refresh.ts'
import type { SessionStore } from './store.ts'

export interface Renewals {
  /** Throws REFRESH_INVALID, REFRESH_EXPIRED, REFRESH_REUSED, SESSION_REVOKED. */
  renew(refreshToken: string): Promise<Session>
}

export interface RenewalOptions {
  sessions: SessionStore
  sealer: Sealer
  /** Whether an app is configured here. */
  knowsApp: (appid: string) => boolean
  meters: Pick<Meters, 'refresh'>
  /** Milliseconds since 1970. */
  now: () => number
}

export function createRenewals({ sessions, sealer, knowsApp, meters, now }: RenewalOptions): Renewals {
  async function renew(claims: RefreshClaims | undefined): Promise<Session> {
    if (claims === undefined || !knowsApp(claims.appid)) throw new ServiceError('REFRESH_INVALID')
    if (claims.expiresAt * 1000 <= now()) throw new ServiceError('REFRESH_EXPIRED')
    const renewal = await sessions.renew(claims)
    if (renewal.status === 'gone') throw new ServiceError('SESSION_REVOKED')
    if (renewal.status === 'reused') throw new ServiceError('REFRESH_REUSED')
    return renewal.session
  }

  return {
    renew(refreshToken) {
      const claims = readRefreshToken(refreshToken, sealer)
      return observed(
        () => renew(claims),
        (outcome) => meters.refresh(claims?.appid, outcome)
      )
    }
  }
}
