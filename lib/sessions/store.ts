/**
 * Sessions of users in Redis: one hash a user, so that one command reads a session and one script writes all that a
 * login changes.
 */
import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Sealer } from '../crypto/seal.ts'
import type { Keys } from '../redis/keys.ts'
import { runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/wrong-type.ts'
import { readKeyRing } from './key-ring.ts'
import { pageOf } from './listing.ts'
import type {
  KeyRing,
  NewSession,
  Page,
  PageRequest,
  RefreshClaims,
  RenewedSession,
  Session,
  SessionId,
  User
} from './model.ts'
import { latestEnd, readRecord, writeRecord } from './record.ts'
import { CLOSE_SESSION, OPEN_SESSION, RENEW_SESSION } from './scripts.ts'
import { KEPT_SESSION_KEYS, packSessionKey } from './session-keys.ts'

/** More sessions than this of one user in one app: the oldest ends. It bounds what one user can make Redis hold. */
export const MAX_SESSIONS_PER_USER = 20

/** A lost answer, and requests in parallel, come again within this time. */
const GRACE_SECONDS = 10

export interface SessionStore {
  /** Begins a session and holds its session_key; one round trip. */
  open(fresh: NewSession): Promise<Session>
  /** One command. undefined where the session was ended or has run out. */
  find(id: SessionId): Promise<Session | undefined>
  /** As `find`, with the user's session_keys; in the same round trip. */
  findWithKeys(id: SessionId): Promise<(KeyRing & { session: Session }) | undefined>
  /** Whether a session_key of this user is held, as far as the session tells: it may have been a moment ago. */
  holdsKey(session: Session): boolean
  /**
   * Moves the session on by one refresh, on whichever instances it is asked for. The token of the generation before
   * is good for the same answer for ten seconds more; one that is older ends the session, since somebody else has its
   * successor.
   */
  renew(claims: RefreshClaims): Promise<RenewedSession>
  /** Ends one session, or all of the user's; with the last one the held session_keys go. */
  close(id: SessionId, everywhere?: boolean): Promise<void>
  /** Ends all sessions of a user, if there are any; the held session_keys go with them. */
  closeAll(user: User): Promise<void>
  /** The sessions of a user that have not run out, newest first; one command. */
  list(user: User, page: PageRequest): Promise<Page>
}

type RenewalStatus = RenewedSession['status'] | 'damaged'

export interface SessionStoreOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  refreshTtlSeconds: number
  sessionKeyTtlSeconds: number
  /** A session ends at the latest so long after its login; 0: none. */
  sessionMaxAgeSeconds: number
  /** Something of this app's in Redis is not as we write it, and counts as absent. */
  onDamaged: (appid: string, what: 'session' | 'session_keys') => void
  /** Milliseconds since 1970. */
  now: () => number
}

/** What may stand in a header and in our schemas. */
const UNIONID = /^[\w-]{1,128}$/

export function createSessionStore(options: SessionStoreOptions): SessionStore {
  const { redis, keys, sealer, refreshTtlSeconds, sessionKeyTtlSeconds, sessionMaxAgeSeconds, onDamaged } = options
  const nowSeconds = () => Math.floor(options.now() / 1000)

  async function find(id: SessionId): Promise<Session | undefined> {
    const fields = redis.hmget(keys.sessions(id.appid, id.openid), id.sid, 'u', 'k')
    const [record, unionid, keyEndsAt] = await unlessWrongType(fields, () => ['', null, null])
    return typeof record === 'string' ? sessionOf(id, record, unionid, keyEndsAt) : undefined
  }

  /** undefined where it has run out, or is damaged. */
  function sessionOf(
    { appid, openid, sid }: SessionId,
    text: string,
    unionid: string | null | undefined,
    keyEndsAt: string | null | undefined
  ): Session | undefined {
    const record = readRecord(text)
    if (record === undefined) return void onDamaged(appid, 'session')
    const expiresAt = Math.min(record.expiresAt, latestEnd(record.createdAt, sessionMaxAgeSeconds))
    if (expiresAt <= nowSeconds()) return undefined
    const known = { ...record, expiresAt, sessionKeyEndsAt: Number(keyEndsAt) || 0 }
    return { appid, openid, sid, ...known, ...(unionid && UNIONID.test(unionid) && { unionid }) }
  }

  async function list({ appid, openid }: User, page: PageRequest): Promise<Page> {
    const fields = redis.hgetall(keys.sessions(appid, openid))
    const { u: unionid, k: keyEndsAt, ...records } = await unlessWrongType(fields, () => ({ damaged: '' }))
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

  async function renew({ appid, openid, sid, generation }: RefreshClaims): Promise<RenewedSession> {
    const places = [keys.sessions(appid, openid), keys.sessionKeys(appid, openid)]
    const now = nowSeconds()
    const answer = await runScript(redis, RENEW_SESSION, places, [
      sid,
      generation,
      now,
      now + refreshTtlSeconds,
      GRACE_SECONDS,
      sessionMaxAgeSeconds
    ])
    const [status, record = '', unionid, keyEndsAt] = answer as [RenewalStatus, string?, string?, string?]
    if (status === 'reused') return { status }
    if (status === 'damaged') onDamaged(appid, 'session')
    const session = status === 'renewed' && sessionOf({ appid, openid, sid }, record, unionid, keyEndsAt)
    return session ? { status: 'renewed', session } : { status: 'gone' }
  }

  return {
    find,
    list,
    renew,

    async findWithKeys(id) {
      const [session, keyRing] = await Promise.all([find(id), readKeyRing(options, id)])
      return session && { session, ...keyRing }
    },

    async open({ appid, openid, unionid, sessionKey }) {
      const sid = randomBytes(16).toString('base64url')
      const createdAt = nowSeconds()
      const expiresAt = Math.min(createdAt + refreshTtlSeconds, latestEnd(createdAt, sessionMaxAgeSeconds))
      const sessionKeyEndsAt = createdAt + sessionKeyTtlSeconds
      const place = keys.sessionKeys(appid, openid)
      const packed = packSessionKey(sessionKey, sessionKeyEndsAt, place, sealer)
      await runScript(
        redis,
        OPEN_SESSION,
        [keys.sessions(appid, openid), place],
        [
          sid,
          writeRecord({ createdAt, expiresAt, generation: 0 }),
          createdAt,
          expiresAt,
          unionid ?? '',
          MAX_SESSIONS_PER_USER,
          packed,
          sessionKeyEndsAt,
          KEPT_SESSION_KEYS,
          sessionMaxAgeSeconds
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
