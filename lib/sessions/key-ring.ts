/** What opens a user's data, read from Redis in one command. */
import type { Redis } from 'ioredis'
import type { Sealer } from '../crypto/seal.ts'
import type { Keys } from '../redis/keys.ts'
import type { KeyRing, User } from './model.ts'
import { isWhole, unpackSessionKeys } from './session-keys.ts'

export interface KeyRingOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  /** What is held of this app's user is not as we write it, and as much of it as can be read counts. */
  onDamaged: (appid: string, what: 'session_keys') => void
  /** Milliseconds since 1970. */
  now: () => number
}

export async function readKeyRing(
  { redis, keys, sealer, onDamaged, now }: KeyRingOptions,
  { appid, openid }: User
): Promise<KeyRing> {
  const place = keys.sessionKeys(appid, openid)
  const [history, failed] = await redis.mgetBuffer(place, keys.failedTries(appid, openid))
  if (history && !isWhole(history)) onDamaged(appid, 'session_keys')
  const sessionKeys = history ? unpackSessionKeys(history, Math.floor(now() / 1000), place, sealer) : []
  return { sessionKeys, failedTries: Number(failed) || 0 }
}
