/**
 * Authentic callbacks that contradict our settings or our order wait here, sealed, for a person: one entry for each
 * identity.
 */
import { hash } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Sealer } from '../crypto/seal.ts'
import type { Keys } from '../redis/keys.ts'
import { type Page, type PageRequest, readCursor, readPage, writeCursor } from '../redis/paging.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/trouble.ts'
import type { CallbackChannel, Texts } from './model.ts'

/** As long as events are recognised as repeated, and far longer than WeChat repeats. */
const LIFE_SECONDS = 32 * 86_400

export interface QuarantineEntry {
  /** What WeChat calls the thing, e.g. `pay_{mchid}_{transactionId}`. */
  identity: string
  door: CallbackChannel
  reason: string
  /** The merchant or app whose address it came to. */
  owner: string
  body: Buffer
  /** Where the signature stands in them. */
  headers?: Texts
  query?: Texts
}

/** An entry, opened. */
export interface KeptCallback extends Required<QuarantineEntry> {
  /** When it came last, in milliseconds since 1970: its timestamp has to fit that time. */
  receivedAt: number
}

export interface QuarantineSummary {
  id: string
  identity: string
  door: string
  reason: string
  /** ISO 8601, UTC. */
  firstSeen: string
  lastSeen: string
  /** How often it came. */
  times: number
}

/** KEYS entry, index; ARGV id, now in ms, life in s, identity, door, reason, sealed. */
const PUT = defineScript(
  2,
  `redis.call('HSETNX', KEYS[1], 'first', ARGV[2])
redis.call('HSET', KEYS[1], 'last', ARGV[2], 'identity', ARGV[4], 'door', ARGV[5], 'reason', ARGV[6], 'sealed', ARGV[7])
redis.call('HINCRBY', KEYS[1], 'times', 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], redis.call('HGET', KEYS[1], 'first'), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[2] - 2000 * ARGV[3])
return redis.call('EXPIRE', KEYS[2], ARGV[3])`
)

/** KEYS entry, index; ARGV id, when it came last. */
const REMOVE = defineScript(
  2,
  `if redis.call('HGET', KEYS[1], 'last') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])`
)

const SHOWN = ['identity', 'door', 'reason', 'first', 'last', 'times'] as const
/** 22 characters of base64url. */
const ID = /^[\w-]{22}$/

export class Quarantine {
  readonly #redis: Redis
  readonly #keys: Keys
  readonly #sealer: Sealer
  readonly #now: () => number

  constructor(redis: Redis, keys: Keys, sealer: Sealer, now: () => number) {
    this.#redis = redis
    this.#keys = keys
    this.#sealer = sealer
    this.#now = now
  }

  /** The newest of one identity is kept. */
  async put({ identity, door, reason, owner, body, headers = {}, query = {} }: QuarantineEntry): Promise<void> {
    const id = idOf(door, identity)
    const place = this.#keys.quarantined(id)
    const text = JSON.stringify({ owner, headers, query, body: body.toString('base64') })
    const sealed = this.#sealer.seal(Buffer.from(text), place)
    const args = [id, Math.floor(this.#now()), LIFE_SECONDS, identity, door, reason, sealed]
    await runScript(this.#redis, PUT, [place, this.#keys.quarantine], args)
  }

  /** Newest first, by when each came first. */
  async list({ limit, cursor }: PageRequest): Promise<Page<QuarantineSummary>> {
    const after = readCursor(cursor)
    const describe = (ids: string[]) => Promise.all(ids.map((id) => this.#summary(id)))
    const { items, stop } = await readPage(this.#redis, this.#keys.quarantine, { after, count: limit, describe })
    return { items: items.map(({ item }) => item), next: stop && writeCursor(stop) }
  }

  /** undefined: there is none. `unopenable`: none of the encryption keys opens it. */
  async find(id: string): Promise<KeptCallback | 'unopenable' | undefined> {
    if (!ID.test(id)) return undefined
    const place = this.#keys.quarantined(id)
    const held = unlessWrongType(this.#redis.hmgetBuffer(place, 'sealed', 'last'), () => [])
    const [known, [sealed, last]] = await Promise.all([this.#summary(id), held])
    if (known === undefined || !sealed || !last) return undefined
    const opened = this.#sealer.open(sealed, place)
    if (opened === undefined) return 'unopenable'
    const { owner, headers, query, body } = JSON.parse(String(opened))
    const { identity, reason, door } = known
    const message = { owner, headers, query, body: Buffer.from(body, 'base64') }
    return { identity, door: door as CallbackChannel, reason, ...message, receivedAt: Number(last) }
  }

  /** Unless it came once more since. */
  async remove(id: string, receivedAt: number): Promise<void> {
    await runScript(this.#redis, REMOVE, [this.#keys.quarantined(id), this.#keys.quarantine], [id, receivedAt])
  }

  async #summary(id: string): Promise<QuarantineSummary | undefined> {
    const fields = unlessWrongType(this.#redis.hmget(this.#keys.quarantined(id), ...SHOWN), () => [])
    const [identity, door, reason, first, last, times] = await fields
    if (!identity || !door || !reason) return undefined
    return { id, identity, door, reason, firstSeen: isoTime(first), lastSeen: isoTime(last), times: wholeOf(times) }
  }
}

/** Any that JavaScript can write as a time. */
const WHOLE = /^\d{1,15}$/

/** 0 where it is damaged: the rest of the entry is still there to be tried again. */
const wholeOf = (text: string | null | undefined): number => (text && WHOLE.test(text) ? Number(text) : 0)

const isoTime = (milliseconds: string | null | undefined): string => new Date(wholeOf(milliseconds)).toISOString()

/** The same thing by the same channel is one entry; as a name it holds nothing that a URL could not. */
const idOf = (door: string, identity: string): string => hash('sha256', `${door} ${identity}`, 'base64url').slice(0, 22)
