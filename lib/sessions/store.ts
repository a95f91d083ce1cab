/** Sessions of users in Redis: one hash a user, so that one command reads a session and one script writes all that a login changes. */
import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { runScript } from '../redis/script.ts'
import { type Page, type PageRequest, pageOf } from './listing.ts'
import type { RefreshClaims } from './refresh.ts'
import { CLOSE_SESSION, OPEN_SESSION, RENEW_SESSION } from './scripts.ts'
import type { Sealer } from './seal.ts'
import { KEPT_SESSION_KEYS, packSessionKey, unpackSessionKeys } from './session-keys.ts'

/** More sessions than this of one user in one app: the oldest ends. It bounds what one user can make Redis hold. */
const MAX_SESSIONS_PER_USER = 20

/** A lost answer, and requests in parallel, come again within this time. */
const GRACE_SECONDS = 10

/** A person, as one app knows them. */
export interface User {
  appid: string
  openid: string
}

export interface SessionId extends User {
  sid: string
}

export interface Session extends SessionId {
  unionid?: string
  /** Unix seconds. */
  createdAt: number
  /** Unix seconds; each refresh moves it on. */
  expiresAt: number
  /** How often the refresh token was renewed. */
  generation: number
  /** Unix seconds; 0 where no session_key was ever held. */
  sessionKeyEndsAt: number
}

export interface NewSession {
  appid: string
  openid: string
  unionid?: string
  /** Decoded, 16 bytes. */
  sessionKey: Buffer
}

export interface SessionStore {
  /** Begins a session and holds its session_key; one round trip. */
  open(fresh: NewSession): Promise<Session>
  /** One command. undefined where the session was ended or has run out. */
  find(id: SessionId): Promise<Session | undefined>
  /** As `find`, with the user's session_keys that still hold, newest first; in the same round trip. */
  findWithKeys(id: SessionId): Promise<{ session: Session; sessionKeys: Buffer[] } | undefined>
  /** Whether a session_key of this user is held, as far as the session tells: it may have been a moment ago. */
  holdsKey(session: Session): boolean
  /**
   * Moves the session on by one refresh, on whichever instances it is asked for. The token of the generation before is good for
   * the same answer for ten seconds more; one that is older ends the session, since somebody else has its successor.
   */
  renew(claims: RefreshClaims): Promise<Renewal>
  /** Ends one session, or all of the user's; with the last one the held session_keys go. */
  close(id: SessionId, everywhere?: boolean): Promise<void>
  /** Ends all sessions of a user, if there are any; the held session_keys go with them. */
  closeAll(user: User): Promise<void>
  /** The sessions of a user that have not run out, newest first; one command. */
  list(user: User, page: PageRequest): Promise<Page>
}

export type Renewal =
  | { status: 'renewed'; session: Session }
  /** The session was ended. */
  | { status: 'gone' }
  /** It was used before, and the session is ended now. */
  | { status: 'reused' }

export interface SessionStoreOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  refreshTtlSeconds: number
  sessionKeyTtlSeconds: number
  /** Milliseconds since 1970. */
  now: () => number
}

export function createSessionStore(options: SessionStoreOptions): SessionStore {
  const { redis, keys, sealer, refreshTtlSeconds, sessionKeyTtlSeconds } = options
  const nowSeconds = () => Math.floor(options.now() / 1000)

  async function find(id: SessionId): Promise<Session | undefined> {
    const [record, unionid, keyEndsAt] = await redis.hmget(keys.sessions(id.appid, id.openid), id.sid, 'u', 'k')
    return record ? sessionOf(id, record, unionid, keyEndsAt) : undefined
  }

  /** undefined where it has run out. */
  function sessionOf(
    { appid, openid, sid }: SessionId,
    record: string,
    unionid: string | null | undefined,
    keyEndsAt: string | null | undefined
  ): Session | undefined {
    const read = readRecord(record)
    if (!(read.expiresAt > nowSeconds())) return undefined
    return { appid, openid, sid, ...read, sessionKeyEndsAt: Number(keyEndsAt ?? 0), ...(unionid && { unionid }) }
  }

  async function list({ appid, openid }: User, page: PageRequest): Promise<Page> {
    const { u: unionid, k: keyEndsAt, ...records } = await redis.hgetall(keys.sessions(appid, openid))
    const all = Object.entries(records).map(([sid, record]) =>
      sessionOf({ appid, openid, sid }, record, unionid, keyEndsAt)
    )
    return pageOf(
      all.filter((session) => session !== undefined),
      page
    )
  }

  const closing = ({ appid, openid }: User, sids: string[]) =>
    runScript(redis, CLOSE_SESSION, [keys.sessions(appid, openid), keys.sessionKeys(appid, openid)], sids)

  async function renew({ appid, openid, sid, generation }: RefreshClaims): Promise<Renewal> {
    const places = [keys.sessions(appid, openid), keys.sessionKeys(appid, openid)]
    const now = nowSeconds()
    const answer = await runScript(redis, RENEW_SESSION, places, [
      sid,
      generation,
      now,
      now + refreshTtlSeconds,
      GRACE_SECONDS
    ])
    const [status, record, unionid, keyEndsAt] = answer as [Renewal['status'], string?, string?, string?]
    if (status !== 'renewed') return { status }
    const { createdAt, expiresAt, generation: next } = readRecord(record ?? '')
    const known = { createdAt, expiresAt, generation: next, sessionKeyEndsAt: Number(keyEndsAt ?? 0) }
    return { status, session: { appid, openid, sid, ...known, ...(unionid && { unionid }) } }
  }

  async function heldKeys(appid: string, openid: string): Promise<Buffer[]> {
    const place = keys.sessionKeys(appid, openid)
    const history = await redis.getBuffer(place)
    return history === null ? [] : unpackSessionKeys(history, nowSeconds(), place, sealer)
  }

  return {
    find,
    list,
    renew,

    async findWithKeys(id) {
      const [session, sessionKeys] = await Promise.all([find(id), heldKeys(id.appid, id.openid)])
      return session && { session, sessionKeys }
    },

    async open({ appid, openid, unionid, sessionKey }) {
      const sid = randomBytes(16).toString('base64url')
      const createdAt = nowSeconds()
      const expiresAt = createdAt + refreshTtlSeconds
      const sessionKeyEndsAt = createdAt + sessionKeyTtlSeconds
      const place = keys.sessionKeys(appid, openid)
      const packed = packSessionKey(sessionKey, sessionKeyEndsAt, place, sealer)
      await runScript(
        redis,
        OPEN_SESSION,
        [keys.sessions(appid, openid), place],
        [
          sid,
          writeRecord(createdAt, expiresAt, 0),
          createdAt,
          expiresAt,
          unionid ?? '',
          MAX_SESSIONS_PER_USER,
          packed,
          sessionKeyEndsAt,
          KEPT_SESSION_KEYS
        ]
      )
      return { appid, openid, sid, createdAt, expiresAt, generation: 0, sessionKeyEndsAt, ...(unionid && { unionid }) }
    },

    holdsKey: (session) => session.sessionKeyEndsAt > nowSeconds(),

    async close(id, everywhere = false) {
      await closing(id, everywhere ? [] : [id.sid])
    },

    async closeAll(user) {
      await closing(user, [])
    }
  }
}

const write36 = (value: number) => value.toString(36)
const read36 = (text: string) => Number.parseInt(text, 36)

/** `created.expires.generation`, once renewed also `.renewed`, base 36: short, since every session of every user carries one. */
const writeRecord = (createdAt: number, expiresAt: number, generation: number): string =>
  [createdAt, expiresAt, generation].map(write36).join('.')

function readRecord(record: string): Pick<Session, 'createdAt' | 'expiresAt' | 'generation'> {
  const [createdAt = '', expiresAt = '', generation = ''] = record.split('.')
  return { createdAt: read36(createdAt), expiresAt: read36(expiresAt), generation: read36(generation) }
}
