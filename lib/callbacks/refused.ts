/** The last callbacks that were refused, for whoever wonders why: no bodies, no secrets, nothing of a person. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { CallbackDoor } from './doors.ts'

const MOST_KEPT = 1000
const LIFE_SECONDS = 32 * 86_400
/**
 * Of each kind, at each instance: so many at once, then so many a second. A flood is sampled, and drowns no other kind.
 */
const BURST = 200
const PER_SECOND = 1

export interface RefusedCallback {
  door: CallbackDoor
  verdict: string
  reason: string
  requestId: string
  /** As the path names them. */
  mchid?: string
  appid?: string
  /** Absent where the body was not read. */
  bytes?: number
  sha256?: string
  headers: Readonly<Record<string, string>>
  query?: Readonly<Record<string, string>>
}

export interface RefusedLog {
  /** Nobody waits for it, and it never fails: what Redis does not take is lost. */
  note(entry: RefusedCallback): void
  /** Newest first. `time` is ISO 8601, UTC. */
  list(page: {
    limit: number
    cursor?: string
  }): Promise<{ items: (RefusedCallback & { time: string })[]; next?: string }>
}

export function createRefusedLog(redis: Redis, keys: Keys, now: () => number): RefusedLog {
  const mayWrite = allowance()

  return {
    note(entry) {
      if (redis.status !== 'ready' || !mayWrite(`${entry.door} ${entry.reason}`)) return
      const text = JSON.stringify({ time: new Date(now()).toISOString(), ...entry })
      const written = redis.xadd(keys.refusedCallbacks, 'MAXLEN', '=', MOST_KEPT, '*', 'entry', text)
      const kept = redis.expire(keys.refusedCallbacks, LIFE_SECONDS)
      Promise.all([written, kept]).catch(() => undefined)
    },
    async list({ limit, cursor }) {
      const start = cursor === undefined ? '+' : `(${cursor}`
      const found = await redis.xrevrange(keys.refusedCallbacks, start, '-', 'COUNT', limit + 1)
      const shown = found.slice(0, limit)
      const last = shown.at(-1)?.[0]
      const items = shown.flatMap(([, [, text = '']]) => readEntry(text) ?? [])
      return { items, ...(found.length > limit && last !== undefined && { next: last }) }
    }
  }
}

/** undefined where it is damaged. */
function readEntry(text: string): (RefusedCallback & { time: string }) | undefined {
  try {
    const entry = JSON.parse(text)
    return typeof entry?.time === 'string' ? entry : undefined
  } catch {
    return undefined
  }
}

/** A bucket for each kind; kinds are words of ours, so they are few. */
function allowance(): (kind: string) => boolean {
  const buckets = new Map<string, { left: number; at: number }>()
  return (kind) => {
    const at = performance.now()
    const bucket = buckets.get(kind) ?? { left: BURST, at }
    const left = Math.min(BURST, bucket.left + ((at - bucket.at) / 1000) * PER_SECOND)
    buckets.set(kind, { left: left >= 1 ? left - 1 : left, at })
    return left >= 1
  }
}
