/**
 * Sessions of users in Redis: one hash a user, so that one command reads a session and one script writes all that a
 * login changes.
 */
import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Sealer } from '../crypto/seal.ts'
import type { Keys } from '../redis/keys.ts'
import { type Page, type PageRequest, readCursor, writeCursor } from '../redis/paging.ts'
import { runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/trouble.ts'
import { KEPT_SESSION_KEYS, packSessionKey } from './key-history.ts'
import type { KeyRing, NewSession, RefreshClaims, RenewedSession, Session, SessionId, User } from './model.ts'
import { latestEnd, readRecord, writeRecord } from './record.ts'
import { CLOSE_SESSION, OPEN_SESSION, RENEW_SESSION } from './scripts.ts'
import type { SessionKeys } from './session-keys.ts'

/** More sessions than this of one user in one app: the oldest ends. It bounds what one user can make Redis hold. */
export const MAX_SESSIONS_PER_USER = 20

/** A lost answer, and requests in parallel, come again within this time. */
const GRACE_SECONDS = 10

type RenewalStatus = RenewedSession['status'] | 'damaged'

export interface SessionStoreOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  sessionKeys: SessionKeys
  refreshTtlSeconds: number
  sessionKeyTtlSeconds: number
  /** A session ends at the latest so long after its login; 0: none. */
  sessionMaxAgeSeconds: number
  /** A session of this app's in Redis is not as we write it, and counts as absent. */
  onDamaged: (appid: string, what: 'session') => void
  /** Milliseconds since 1970. */
  now: () => number
}

/** What may stand in a header and in our schemas. */
const UNIONID = /^[\w-]{1,128}$/

export class SessionStore {
  readonly #options: SessionStoreOptions

  constructor(options: SessionStoreOptions) {
    this.#options = options
  }

  /** Begins a session and holds its session_key; one round trip. */
  async open({ appid, openid, unionid, sessionKey }: NewSession): Promise<Session> {
    const { redis, keys, sealer, refreshTtlSeconds, sessionKeyTtlSeconds, sessionMaxAgeSeconds } = this.#options
    const sid = randomBytes(16).toString('base64url')
    const createdAt = this.#nowSeconds()
    const expiresAt = Math.min(createdAt + refreshTtlSeconds, latestEnd(createdAt, sessionMaxAgeSeconds))
    const sessionKeyEndsAt = createdAt + sessionKeyTtlSeconds
    const place = keys.sessionKeys(appid, openid)
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
        packSessionKey(sessionKey, sessionKeyEndsAt, place, sealer),
        sessionKeyEndsAt,
        KEPT_SESSION_KEYS,
        sessionMaxAgeSeconds
      ]
    )
    return { appid, openid, sid, unionid, createdAt, expiresAt, generation: 0, sessionKeyEndsAt }
  }

  /** One command. undefined where the session was ended or has run out. */
  async find(id: SessionId): Promise<Session | undefined> {
    const { redis, keys } = this.#options
    const fields = redis.hmget(keys.sessions(id.appid, id.openid), id.sid, 'u', 'k')
    const [record, unionid, keyEndsAt] = await unlessWrongType(fields, () => ['', null, null])
    return typeof record === 'string' ? this.#sessionOf(id, record, unionid, keyEndsAt) : undefined
  }

  /** As `find`, with the user's session_keys; in the same round trip. */
  async findWithKeys(id: SessionId): Promise<(KeyRing & { session: Session }) | undefined> {
    const [session, keyRing] = await Promise.all([this.find(id), this.#options.sessionKeys.ringOf(id)])
    return session && { session, ...keyRing }
  }

  /** Whether a session_key of this user is held, as far as the session tells: it may have been a moment ago. */
  holdsKey(session: Session): boolean {
    return session.sessionKeyEndsAt > this.#nowSeconds()
  }

  /**
   * Moves the session on by one refresh, on whichever instances it is asked for. The token of the generation before
   * is good for the same answer for ten seconds more; one that is older ends the session, since somebody else has its
   * successor.
   */
  async renew({ appid, openid, sid, generation }: RefreshClaims): Promise<RenewedSession> {
    const { redis, keys, refreshTtlSeconds, sessionMaxAgeSeconds, onDamaged } = this.#options
    const places = [keys.sessions(appid, openid), keys.sessionKeys(appid, openid)]
    const now = this.#nowSeconds()
    const args = [sid, generation, now, now + refreshTtlSeconds, GRACE_SECONDS, sessionMaxAgeSeconds]
    const answer = await runScript(redis, RENEW_SESSION, places, args)
    const [status, record = '', unionid, keyEndsAt] = answer as [RenewalStatus, string?, string?, string?]
    if (status === 'reused') return { status }
    if (status === 'damaged') onDamaged(appid, 'session')
    const session = status === 'renewed' && this.#sessionOf({ appid, openid, sid }, record, unionid, keyEndsAt)
    return session ? { status: 'renewed', session } : { status: 'gone' }
  }

  /** Ends one session, or all of the user's; with the last one the held session_keys go. */
  async close(id: SessionId, everywhere = false): Promise<void> {
    await this.#close(id, everywhere ? [] : [id.sid])
  }

  /** Ends all sessions of a user, if there are any; the held session_keys go with them. */
  async closeAll(user: User): Promise<void> {
    await this.#close(user, [])
  }

  /** The sessions of a user that have not run out, newest first; of one second, by session id. One command. */
  async list({ appid, openid }: User, page: PageRequest): Promise<Page<Session>> {
    const { redis, keys } = this.#options
    const fields = redis.hgetall(keys.sessions(appid, openid))
    const { u: unionid, k: keyEndsAt, ...records } = await unlessWrongType(fields, () => ({ damaged: '' }))
    const all = Object.entries(records).map(([sid, record]) =>
      this.#sessionOf({ appid, openid, sid }, record, unionid, keyEndsAt)
    )
    return pageOf(
      all.filter((session) => session !== undefined),
      page
    )
  }

  async #close({ appid, openid }: User, sids: string[]): Promise<void> {
    const { redis, keys } = this.#options
    await runScript(redis, CLOSE_SESSION, [keys.sessions(appid, openid), keys.sessionKeys(appid, openid)], sids)
  }

  /** undefined where it has run out, or is damaged. */
  #sessionOf({ appid, openid, sid }: SessionId, text: string, unionid: Field, keyEndsAt: Field): Session | undefined {
    const { sessionMaxAgeSeconds, onDamaged } = this.#options
    const record = readRecord(text)
    if (record === undefined) return void onDamaged(appid, 'session')
    const { createdAt, generation } = record
    const expiresAt = Math.min(record.expiresAt, latestEnd(createdAt, sessionMaxAgeSeconds))
    if (expiresAt <= this.#nowSeconds()) return undefined
    const known = unionid && UNIONID.test(unionid) ? unionid : undefined
    const sessionKeyEndsAt = Number(keyEndsAt) || 0
    return { appid, openid, sid, unionid: known, createdAt, expiresAt, generation, sessionKeyEndsAt }
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.now() / 1000)
  }
}

/** As Redis answers a field of a hash. */
type Field = string | null | undefined

/**
 * One page, in an order that stays the same while sessions come and go. The cursor names a place in the order, not a
 * session, so it is good also after that session has ended.
 */
function pageOf(sessions: readonly Session[], { limit, cursor }: PageRequest): Page<Session> {
  const reached = readCursor(cursor)
  const after = reached && { createdAt: reached.score, sid: reached.member }
  const rest = sessions.toSorted(inOrder).filter((session) => after === undefined || inOrder(after, session) < 0)
  const items = rest.slice(0, limit)
  const last = rest.length > limit ? items.at(-1) : undefined
  return { items, next: last && writeCursor({ score: last.createdAt, member: last.sid }) }
}

type Place = Pick<Session, 'createdAt' | 'sid'>

function inOrder(one: Place, other: Place): number {
  if (one.createdAt !== other.createdAt) return other.createdAt - one.createdAt
  if (one.sid === other.sid) return 0
  return one.sid < other.sid ? -1 : 1
}
