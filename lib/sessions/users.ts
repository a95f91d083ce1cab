/** All that is held of a user: shown without its secrets, and erased. */
import type { Redis } from 'ioredis'
import { eraseUserCounts, readUserCounts } from '../limits/user-counts.ts'
import type { Keys } from '../redis/keys.ts'
import { unlessWrongType } from '../redis/trouble.ts'
import { sessionKeyEnds } from './key-history.ts'
import type { User } from './model.ts'
import { MAX_SESSIONS_PER_USER, type SessionStore } from './store.ts'

export interface UsersOptions {
  redis: Redis
  keys: Keys
  sessions: SessionStore
  /** Milliseconds since 1970. */
  now: () => number
}

export class Users {
  readonly #options: UsersOptions

  constructor(options: UsersOptions) {
    this.#options = options
  }

  /**
   * Sessions, and when each session_key ends (Unix seconds), newest first; and the counts. Of somebody who never logged
   * in: nothing.
   */
  async describe(user: User) {
    const { redis, keys, sessions, now } = this.#options
    const history = redis.getBuffer(keys.sessionKeys(user.appid, user.openid))
    const [{ items }, held, counts] = await Promise.all([
      sessions.list(user, { limit: MAX_SESSIONS_PER_USER }),
      unlessWrongType(history, () => null),
      readUserCounts(redis, keys, user, now())
    ])
    const ends = held === null ? [] : sessionKeyEnds(held, Math.floor(now() / 1000))
    return { unionid: items[0]?.unionid, sessions: items, sessionKeyEnds: ends, counts }
  }

  /**
   * Sessions, session_keys and counts, as often as it is asked for. Tokens are refused from the next request on.
   * Events, orders and callbacks in quarantine are the merchant's books and stay. What else names the user (the
   * result of a login code or a phone code, the limit of a session) ends by itself within a minute.
   */
  async erase(user: User): Promise<void> {
    const { redis, keys, sessions } = this.#options
    await Promise.all([sessions.closeAll(user), eraseUserCounts(redis, keys, user)])
  }
}
