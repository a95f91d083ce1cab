/**
 * The session_keys of a user: all of them, to open data; the newest, for calls that WeChat wants signed with it; and
 * its change by a reset.
 */
import { runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/wrong-type.ts'
import { type KeyRingOptions, readKeyRing } from './key-ring.ts'
import type { KeyRing, User } from './model.ts'
import { REPLACE_KEY } from './scripts.ts'
import { fingerprint, KEPT_SESSION_KEYS, packSessionKey, unpackNewestKey } from './session-keys.ts'

export interface HeldKeys {
  /** One command. */
  all(user: User): Promise<KeyRing>
  /** The key that WeChat gave last, 16 bytes; undefined where none is held any more. One command. */
  newest(user: User): Promise<Buffer | undefined>
  /**
   * Holds `fresh`, which WeChat gave for `replaced`, until the same end; data made under `replaced` can be opened as
   * before. A key of a login that came meanwhile stays the newest, and a user who was logged out meanwhile stays
   * without keys.
   */
  replace(user: User, replaced: Buffer, fresh: Buffer): Promise<void>
}

export function createHeldKeys(options: KeyRingOptions): HeldKeys {
  const { redis, keys, sealer, now } = options

  return {
    all: (user) => readKeyRing(options, user),

    async newest({ appid, openid }) {
      const place = keys.sessionKeys(appid, openid)
      const history = await unlessWrongType(redis.getBuffer(place), () => null)
      return history === null ? undefined : unpackNewestKey(history, Math.floor(now() / 1000), place, sealer)
    },

    async replace({ appid, openid }, replaced, fresh) {
      const place = keys.sessionKeys(appid, openid)
      // The script writes the end of the one replaced, which a login may have moved on.
      const packed = packSessionKey(fresh, 0, place, sealer)
      await runScript(redis, REPLACE_KEY, [place], [fingerprint(replaced, place), packed, KEPT_SESSION_KEYS])
    }
  }
}
