/** Authentic callbacks that contradict our settings or our order wait here, sealed, for a person: one entry for each identity. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { Sealer } from '../sessions/seal.ts'

/** As long as events are recognised as repeated, and far longer than WeChat repeats. */
const LIFE_SECONDS = 32 * 86_400

export interface QuarantineEntry {
  /** What WeChat calls the thing, e.g. `pay_{mchid}_{transactionId}`. */
  identity: string
  door: string
  reason: string
  body: Buffer
}

export interface Quarantine {
  put(entry: QuarantineEntry): Promise<void>
}

export function createQuarantine(redis: Redis, keys: Keys, sealer: Sealer, now: () => number): Quarantine {
  return {
    async put({ identity, door, reason, body }) {
      const place = keys.quarantined(door, identity)
      const text = JSON.stringify({
        identity,
        door,
        reason,
        time: new Date(now()).toISOString(),
        body: body.toString('base64')
      })
      await redis.set(place, sealer.seal(Buffer.from(text), place), 'EX', LIFE_SECONDS)
    }
  }
}
