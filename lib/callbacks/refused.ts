/** The last callbacks that were refused, for whoever wonders why: no bodies, no secrets, nothing of a person. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { Page, PageRequest } from '../redis/paging.ts'
import type { Callback, CallbackChannel } from './model.ts'

const MOST_KEPT = 1000
const LIFE_SECONDS = 32 * 86_400
/**
 * Of each kind, at each instance: so many at once, then so many a second. A flood is sampled, and drowns no other kind.
 */
const BURST = 200
const PER_SECOND = 1

/** As it is stored and listed. */
export interface RefusedCallback {
  door: CallbackChannel
  verdict: string
  reason: string
  requestId: string
  /** As the path names them. */
  mchid: string | undefined
  appid: string | undefined
  /** undefined where the body was not read. */
  bytes: number | undefined
  sha256: string | undefined
  headers: Readonly<Record<string, string>>
  query: Readonly<Record<string, string>> | undefined
}

/** What is known of a callback beside its message. */
export interface Sighting {
  requestId: string
  /** As the path names them. */
  mchid?: string | undefined
  appid?: string | undefined
  /** Absent where the body was not read. */
  bytes?: number | undefined
  sha256?: string | undefined
  /** As it came. */
  contentType?: string | undefined
}

const HEADERS = ['wechatpay-serial', 'wechatpay-timestamp', 'wechatpay-nonce', 'content-length', 'user-agent']
const QUERY = ['timestamp', 'nonce', 'encrypt_type']
/** They are the sender's words, and enough of them to know it by. */
const MOST_SHOWN = 128
const OWNER = /^\w{1,32}$/

export function refusedCallback(
  door: CallbackChannel,
  { headers, query }: Pick<Callback, 'headers' | 'query'>,
  { requestId, mchid, appid, bytes, sha256, contentType }: Sighting,
  { verdict, reason = verdict }: { verdict: string; reason?: string | undefined }
): RefusedCallback {
  return {
    door,
    verdict,
    reason,
    requestId,
    mchid: ownerIn(mchid),
    appid: ownerIn(appid),
    bytes,
    sha256,
    headers: { ...shown(headers, HEADERS), ...shown({ 'content-type': contentType }, ['content-type']) },
    query: door === 'push' ? shown(query, QUERY) : undefined
  }
}

/** A path may hold anything in its place. */
const ownerIn = (text: string | undefined): string | undefined =>
  text !== undefined && OWNER.test(text) ? text : undefined

/** Those of `names` that are there once. */
function shown(given: Readonly<Record<string, unknown>>, names: string[]): Record<string, string> {
  const texts = names.flatMap((name) => {
    const value = given[name]
    return typeof value === 'string' ? [[name, value.slice(0, MOST_SHOWN)]] : []
  })
  return Object.fromEntries(texts)
}

export class RefusedLog {
  readonly #redis: Redis
  readonly #keys: Keys
  readonly #now: () => number
  /** One for each kind; kinds are words of ours, so they are few. */
  readonly #buckets = new Map<string, { left: number; at: number }>()

  constructor(redis: Redis, keys: Keys, now: () => number) {
    this.#redis = redis
    this.#keys = keys
    this.#now = now
  }

  /** Nobody waits for it, and it never fails: what Redis does not take is lost. */
  note(entry: RefusedCallback): void {
    if (this.#redis.status !== 'ready' || !this.#mayWrite(`${entry.door} ${entry.reason}`)) return
    const text = JSON.stringify({ time: new Date(this.#now()).toISOString(), ...entry })
    const written = this.#redis.xadd(this.#keys.refusedCallbacks, 'MAXLEN', '=', MOST_KEPT, '*', 'entry', text)
    const kept = this.#redis.expire(this.#keys.refusedCallbacks, LIFE_SECONDS)
    Promise.all([written, kept]).catch(() => undefined)
  }

  /** Newest first. `time` is ISO 8601, UTC. */
  async list({ limit, cursor }: PageRequest): Promise<Page<RefusedEntry>> {
    const start = cursor === undefined ? '+' : `(${cursor}`
    const found = await this.#redis.xrevrange(this.#keys.refusedCallbacks, start, '-', 'COUNT', limit + 1)
    const shownNow = found.slice(0, limit)
    const last = shownNow.at(-1)?.[0]
    const items = shownNow.flatMap(([, [, text = '']]) => readEntry(text) ?? [])
    return { items, next: found.length > limit ? last : undefined }
  }

  #mayWrite(kind: string): boolean {
    const at = performance.now()
    const bucket = this.#buckets.get(kind) ?? { left: BURST, at }
    const left = Math.min(BURST, bucket.left + ((at - bucket.at) / 1000) * PER_SECOND)
    this.#buckets.set(kind, { left: left >= 1 ? left - 1 : left, at })
    return left >= 1
  }
}

type RefusedEntry = RefusedCallback & { time: string }

/** undefined where it is damaged. */
function readEntry(text: string): RefusedEntry | undefined {
  try {
    const entry = JSON.parse(text)
    return typeof entry?.time === 'string' ? entry : undefined
  } catch {
    return undefined
  }
}
