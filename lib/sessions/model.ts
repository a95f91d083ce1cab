/** Who is logged in, and what is held of them. */

/** A person, as one app knows them. */
export interface User {
  appid: string
  openid: string
}

export interface SessionId extends User {
  sid: string
}

export interface SessionRecord {
  /** Unix seconds. */
  createdAt: number
  /** Unix seconds. */
  expiresAt: number
  /** How often the refresh token was renewed. */
  generation: number
}

/** Each refresh moves `expiresAt` on, at most to the oldest age that a session may have. */
export interface Session extends SessionId, SessionRecord {
  unionid: string | undefined
  /** Unix seconds; 0 where no session_key was ever held. */
  sessionKeyEndsAt: number
}

export interface NewSession {
  appid: string
  openid: string
  unionid?: string | undefined
  /** Decoded, 16 bytes. */
  sessionKey: Buffer
}

export interface RefreshClaims extends SessionId {
  generation: number
  /** Unix seconds. */
  expiresAt: number
}

export type RenewedSession =
  | { status: 'renewed'; session: Session }
  /** The session was ended. */
  | { status: 'gone' }
  /** It was used before, and the session is ended now. */
  | { status: 'reused' }

export interface KeyRing {
  /** The session_keys that still hold, newest first, 16 bytes each. */
  sessionKeys: readonly Buffer[]
  /** How much data of this user did not open lately (lib/limits/failed-tries.ts). */
  failedTries: number
}
