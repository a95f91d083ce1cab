/**
 * Work that one caller at a time does, across all instances. That caller holds a lease in Redis; the others wait for
 * its result. Where a holder dies, another follows when the lease ends.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { defineScript, runScript } from './script.ts'
import { Settlements } from './settlements.ts'
import { isRedisAway, mayHaveRun, type Trouble, unlessWrongType } from './trouble.ts'

const POLL_MS = 50

/**
 * KEYS    lease, result (may be the same key)
 * ARGV    owner, result or '', its life (ms)
 * RETURN  1, or 0 where the lease is not the owner's: then nothing is changed
 *
 * Ends the lease, and leaves the result where there is one.
 */
const SETTLE = defineScript(
  2,
  `
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    if ARGV[2] == '' or KEYS[1] ~= KEYS[2] then redis.call('DEL', KEYS[1]) end
    if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
    return 1
  `
)

export interface Result {
  /** The Redis key of the result; undefined: the key of the lease itself. */
  key?: string
  value: string | Buffer
  lifeMs: number
}

/** The work that leases are for. */
export interface LeaseKind {
  /** Longest time of the work; a holder that takes longer counts as dead. */
  leaseMs: number
  /** For the log, where the holder did not finish. */
  detail: string
  /** In front of the owner's name in Redis, to tell it from a result at the same key. */
  ownerPrefix?: string
}

/** The claim of one caller to one Redis key. */
export class Lease {
  readonly key: string
  readonly owner: string
  readonly leaseMs: number
  readonly #redis: Redis
  readonly #settlements: Settlements
  #isSettled = false

  constructor(redis: Redis, settlements: Settlements, key: string, { leaseMs, ownerPrefix = '' }: LeaseKind) {
    this.#redis = redis
    this.#settlements = settlements
    this.key = key
    this.owner = ownerPrefix + randomUUID()
    this.leaseMs = leaseMs
  }

  /** One round trip. null: the lease is ours now; else the text at its key. A value of another type is removed. */
  claim(): Promise<string | null> {
    return this.#orWithdraw(this.#claim())
  }

  /** Replaces `found`, which `claim` gave, by our claim. False where it is no longer there. */
  takeOver(found: string): Promise<boolean> {
    return this.#orWithdraw(this.#replace(found, { value: this.owner, lifeMs: this.leaseMs }))
  }

  /**
   * Ends the lease and leaves a result. False where the lease has ended already: then nothing is written. Where Redis
   * is away it throws, and does the same later.
   */
  settle(result: Result): Promise<boolean> {
    this.#isSettled = true
    return this.#end(result)
  }

  /**
   * Ends the lease without a result, unless settle() was called. Nobody waits for that; where Redis is away it is done
   * later.
   */
  release(): void {
    if (!this.#isSettled) this.#end(NO_RESULT).catch(() => undefined)
  }

  /** Answers or throws what `work` does. A failure ends the lease; after a success it is `work` that has ended it. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.release()
      throw error
    }
  }

  async #claim(): Promise<string | null> {
    const found = await unlessWrongType(this.#set(), () => undefined)
    if (found !== undefined) return found
    await this.#redis.del(this.key)
    return this.#set()
  }

  #set(): Promise<string | null> {
    return this.#redis.set(this.key, this.owner, 'PX', this.leaseMs, 'NX', 'GET')
  }

  /** A claim without an answer may be there, and nobody would know: it is taken back. */
  async #orWithdraw<T>(claiming: Promise<T>): Promise<T> {
    try {
      return await claiming
    } catch (error) {
      if (mayHaveRun(error)) this.#endLater(NO_RESULT)
      throw error
    }
  }

  async #end(result: Result): Promise<boolean> {
    try {
      return await this.#replace(this.owner, result)
    } catch (error) {
      if (isRedisAway(error)) this.#endLater(result)
      throw error
    }
  }

  #endLater(result: Result): void {
    this.#settlements.add(() => this.#replace(this.owner, result), this.leaseMs)
  }

  async #replace(owner: string, { key = this.key, value, lifeMs }: Result): Promise<boolean> {
    return (await runScript(this.#redis, SETTLE, [this.key, key], [owner, value, lifeMs])) === 1
  }
}

const NO_RESULT: Result = { value: '', lifeMs: 0 }

export interface LeasesOptions {
  redis: Redis
  /** Why Redis cannot serve now. Asked at each look of those who wait, so it must not ask Redis each time. */
  findTrouble: () => Promise<Trouble | undefined>
}

export interface Turn<T> {
  /** The lease is ours: does the work and ends the lease. */
  hold(lease: Lease): Promise<T>
  /** Another holds it, or left `found`. Answers its result, or undefined to look again in 50 ms. */
  wait(found: string, lease: Lease): Promise<T | undefined>
}

/** All leases of a process. */
export class Leases {
  readonly #options: LeasesOptions
  readonly #settlements = new Settlements()

  constructor(options: LeasesOptions) {
    this.#options = options
  }

  /**
   * The result of the holder of the lease at `key`: ours, or that of another. Throws WECHAT_TIMEOUT after two leases:
   * one holder may have died, and the next one needs its time too. Throws REDIS_UNAVAILABLE while another holds it and
   * Redis does not do what is needed: that one may be unable to say that it has finished.
   */
  async run<T extends NonNullable<unknown>>(key: string, kind: LeaseKind, { hold, wait }: Turn<T>): Promise<T> {
    const lease = new Lease(this.#options.redis, this.#settlements, key, kind)
    const result = await poll(performance.now() + 2 * kind.leaseMs, async () => {
      const found = await lease.claim()
      if (found === null) return lease.hold(() => hold(lease))
      const left = await wait(found, lease)
      if (left === undefined) await this.#refuseInTrouble()
      return left
    })
    if (result === undefined) throw new ServiceError('WECHAT_TIMEOUT', { detail: kind.detail })
    return result
  }

  /** For when the connection closes: leases that are not ended yet end by themselves. */
  close(): void {
    this.#settlements.close()
  }

  async #refuseInTrouble(): Promise<void> {
    const trouble = await this.#options.findTrouble()
    if (trouble !== undefined) throw new ServiceError('REDIS_UNAVAILABLE', { detail: trouble.cause })
  }
}

/** Calls `look` every 50 ms until it answers something; undefined from `giveUpAt` (performance.now()) on. */
export async function poll<T>(giveUpAt: number, look: () => Promise<T | undefined>): Promise<T | undefined> {
  while (performance.now() < giveUpAt) {
    const found = await look()
    if (found !== undefined) return found
    await pause(POLL_MS)
  }
  return undefined
}
