/**
 * The session_keys of a user: all of them, to open data; the newest, for calls that WeChat wants signed with it; and
 * its change by a reset.
 */
import type { Redis } from 'ioredis'
import type { Sealer } from '../crypto/seal.ts'
import type { Keys } from '../redis/keys.ts'
import { runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/trouble.ts'
import {
  fingerprint,
  isWhole,
  KEPT_SESSION_KEYS,
  packSessionKey,
  unpackNewestKey,
  unpackSessionKeys
} from './key-history.ts'
import type { KeyRing, User } from './model.ts'
import { REPLACE_KEY } from './scripts.ts'

export interface SessionKeysOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  /** What is held of this app's user is not as we write it; as much of it as can be read counts. */
  onDamaged: (appid: string, what: 'session_keys') => void
  /** Milliseconds since 1970. */
  now: () => number
}

export class SessionKeys {
  readonly #options: SessionKeysOptions

  constructor(options: SessionKeysOptions) {
    this.#options = options
  }

  /** All that still hold. One command. */
  async ringOf({ appid, openid }: User): Promise<KeyRing> {
    const { redis, keys, sealer, onDamaged } = this.#options
    const place = keys.sessionKeys(appid, openid)
    const [history, failed] = await redis.mgetBuffer(place, keys.failedTries(appid, openid))
    if (history && !isWhole(history)) onDamaged(appid, 'session_keys')
    const sessionKeys = history ? unpackSessionKeys(history, this.#nowSeconds(), place, sealer) : []
    return { sessionKeys, failedTries: Number(failed) || 0 }
  }

  /** The key that WeChat gave last, 16 bytes; undefined where none is held any more. One command. */
  async newest({ appid, openid }: User): Promise<Buffer | undefined> {
    const { redis, keys, sealer } = this.#options
    const place = keys.sessionKeys(appid, openid)
    const history = await unlessWrongType(redis.getBuffer(place), () => null)
    return history === null ? undefined : unpackNewestKey(history, this.#nowSeconds(), place, sealer)
  }

  /**
   * Holds `fresh`, which WeChat gave for `replaced`, until the same end; data made under `replaced` can be opened as
   * before. A key of a login that came meanwhile stays the newest, and a user who was logged out meanwhile stays
   * without keys.
   */
  async replace({ appid, openid }: User, replaced: Buffer, fresh: Buffer): Promise<void> {
    const { redis, keys, sealer } = this.#options
    const place = keys.sessionKeys(appid, openid)
    // The script writes the end of the one replaced, which a login may have moved on.
    const packed = packSessionKey(fresh, 0, place, sealer)
    await runScript(redis, REPLACE_KEY, [place], [fingerprint(replaced, place), packed, KEPT_SESSION_KEYS])
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.now() / 1000)
  }
}
