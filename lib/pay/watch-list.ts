/**
 * Open orders and refunds of ours, and when WeChat is to be asked about each: one sorted set for all instances. Who
 * takes an entry has it for a while only, so that what a dying instance held is taken by another.
 */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'

export interface Watched {
  kind: 'order' | 'refund'
  mchid: string
  /** outTradeNo or outRefundNo. */
  number: string
}

export interface WatchList {
  /** Has it asked for at `dueMs`, if not sooner. Times are milliseconds since 1970. */
  add(entry: Watched, dueMs: number): Promise<void>
  /** Nobody need ask any more. */
  remove(entry: Watched): Promise<void>
  /**
   * What was taken until `untilMs` is asked for again at `dueMs`, or by nobody where that is undefined; unless it was
   * removed, or added once more, meanwhile.
   */
  giveBack(entry: Watched, untilMs: number, dueMs: number | undefined): Promise<void>
  /**
   * Takes what is due, at most `most`, until `untilMs`, which has to be later than anything that is added meanwhile.
   * `nextMs`: when the first of the others is due.
   */
  take(nowMs: number, untilMs: number, most: number): Promise<{ entries: Watched[]; nextMs: number | undefined }>
}

/**
 * KEYS list · ARGV now, until, most: the entries that were taken, then when the first of the others is due, or
 * nothing.
 */
const TAKE = defineScript(
  1,
  `
    local taken = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
    for _, entry in ipairs(taken) do redis.call('ZADD', KEYS[1], ARGV[2], entry) end
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return { taken, first[2] or false }
  `
)

/** KEYS list · ARGV entry, until when it was taken, when it is due again or nothing. */
const GIVE_BACK = defineScript(
  1,
  `
    if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) ~= tonumber(ARGV[2]) then return 0 end
    if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
    return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
  `
)

/** No number holds a blank. */
const write = ({ kind, mchid, number }: Watched): string => `${kind} ${mchid} ${number}`

function read(text: string): Watched {
  const [kind, mchid = '', number = ''] = text.split(' ')
  return { kind: kind === 'refund' ? 'refund' : 'order', mchid, number }
}

/** Where nobody asks. */
export const NO_WATCH_LIST: WatchList = {
  add: async () => undefined,
  remove: async () => undefined,
  giveBack: async () => undefined,
  take: async () => ({ entries: [], nextMs: undefined })
}

export class RedisWatchList implements WatchList {
  readonly #redis: Redis
  readonly #key: string

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis
    this.#key = keys.watched
  }

  async add(entry: Watched, dueMs: number): Promise<void> {
    await this.#redis.zadd(this.#key, 'LT', dueMs, write(entry))
  }

  async remove(entry: Watched): Promise<void> {
    await this.#redis.zrem(this.#key, write(entry))
  }

  async giveBack(entry: Watched, untilMs: number, dueMs: number | undefined): Promise<void> {
    await runScript(this.#redis, GIVE_BACK, [this.#key], [write(entry), untilMs, dueMs ?? ''])
  }

  async take(
    nowMs: number,
    untilMs: number,
    most: number
  ): Promise<{ entries: Watched[]; nextMs: number | undefined }> {
    const answer = await runScript(this.#redis, TAKE, [this.#key], [nowMs, untilMs, most])
    const [taken, next] = answer as [string[], string | null]
    return { entries: taken.map(read), nextMs: next === null ? undefined : Number(next) }
  }
}

const MINUTE_MS = 60_000

/**
 * In multiples of the first pause, which is 30 s unless set otherwise: 30 s, 1, 2, 5, 10, 30 min, 1, 3, 6, 12 h; the
 * last repeats.
 */
const ORDER_PAUSES = [1, 2, 4, 10, 20, 60, 120, 360, 720, 1440]
/** 1, 5, 10, 20, 30 min, 1, 3, 6, 12 h. A bank may take days. */
const REFUND_PAUSES = [2, 10, 20, 40, 60, 120, 360, 720, 1440]
const LONGEST_PAUSE_MS = 12 * 3_600_000
/** After a question that got no answer; never later than the schedule has it. */
const FAILED_PAUSE = 120

/** Who began to pay in time may end a little later. */
const GRACE_MS = 10 * MINUTE_MS

/** Milliseconds since 1970. */
export interface Waiting {
  kind: 'order' | 'refund'
  /** When it was asked for, last where that was done several times. */
  createdAtMs: number
  /** Until when the order may be paid, or the refund be made. */
  endMs: number
}

export class WatchTimes {
  readonly #firstMs: number
  readonly #random: () => number

  /** `random` in [0, 1): what waited together does not come back together. */
  constructor(firstMs: number, random: () => number = Math.random) {
    this.#firstMs = firstMs
    this.#random = random
  }

  /** When something just made is first asked for. */
  first(kind: Waiting['kind'], nowMs: number): number {
    return nowMs + (pausesOf(kind)[0] ?? 1) * this.#firstMs
  }

  /** When it is asked for next, after an answer that it is still open; undefined: it is given up. */
  next(waiting: Waiting, nowMs: number): number | undefined {
    const endMs = waiting.endMs + GRACE_MS
    if (nowMs >= endMs) return undefined
    return Math.min(nowMs + this.#jittered(this.#pauseAt(waiting, nowMs)), endMs)
  }

  /** When it is asked for next, after no answer. That is never the end. */
  retry(waiting: Waiting, nowMs: number): number {
    return nowMs + this.#jittered(Math.min(this.#pauseAt(waiting, nowMs), FAILED_PAUSE * this.#firstMs))
  }

  #jittered(pauseMs: number): number {
    return Math.round(Math.min(pauseMs, LONGEST_PAUSE_MS) * (1 + 0.1 * this.#random()))
  }

  /** The pause that follows at this age. */
  #pauseAt({ kind, createdAtMs }: Waiting, nowMs: number): number {
    const pauses = pausesOf(kind).map((multiple) => multiple * this.#firstMs)
    let reached = 0
    const next = pauses.find((pause) => {
      reached += pause
      return createdAtMs + reached > nowMs
    })
    return next ?? pauses.at(-1) ?? this.#firstMs
  }
}

const pausesOf = (kind: Waiting['kind']): number[] => (kind === 'order' ? ORDER_PAUSES : REFUND_PAUSES)
