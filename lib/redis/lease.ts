/**
 * Work that one caller at a time does, across all instances. That caller holds a lease in Redis; the others wait for
 * its result. Where a holder dies, another follows when the lease ends.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { defineScript, runScript } from './script.ts'
import { unlessWrongType } from './trouble.ts'

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

/** The claim of one caller to one Redis key. */
export class Lease {
  readonly key: string
  readonly owner: string
  readonly leaseMs: number
  readonly #redis: Redis

  constructor(redis: Redis, key: string, owner: string, leaseMs: number) {
    this.#redis = redis
    this.key = key
    this.owner = owner
    this.leaseMs = leaseMs
  }

  /** One round trip. null: the lease is ours now; else the text at its key. A value of another type is removed. */
  async claim(): Promise<string | null> {
    const found = await unlessWrongType(this.#set(), () => undefined)
    if (found !== undefined) return found
    await this.#redis.del(this.key)
    return this.#set()
  }

  /** Replaces `found`, which `claim` gave, by our claim. False where it is no longer there. */
  takeOver(found: string): Promise<boolean> {
    return this.#settle(found, { value: this.owner, lifeMs: this.leaseMs })
  }

  /** Ends the lease and leaves a result. False where the lease has ended already: then nothing is written. */
  settle(result: Result): Promise<boolean> {
    return this.#settle(this.owner, result)
  }

  /** Ends the lease without a result. Nobody waits for that; where Redis is away the lease ends by itself. */
  release(): void {
    this.#settle(this.owner, { value: '', lifeMs: 0 }).catch(() => undefined)
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

  #set(): Promise<string | null> {
    return this.#redis.set(this.key, this.owner, 'PX', this.leaseMs, 'NX', 'GET')
  }

  async #settle(owner: string, { key = this.key, value, lifeMs }: Result): Promise<boolean> {
    return (await runScript(this.#redis, SETTLE, [this.key, key], [owner, value, lifeMs])) === 1
  }
}

export interface LeaseOptions {
  redis: Redis
  /** Longest time of the work; a holder that takes longer counts as dead. */
  leaseMs: number
  /** For the log, where the holder did not finish. */
  detail: string
  /** In front of the owner's name in Redis, to tell it from a result at the same key. */
  ownerPrefix?: string
}

export interface Turn<T> {
  /** The lease is ours: does the work and ends the lease. */
  hold(lease: Lease): Promise<T>
  /** Another holds it, or left `found`. Answers its result, or undefined to look again in 50 ms. */
  wait(found: string, lease: Lease): Promise<T | undefined>
}

export class Leases {
  readonly #options: LeaseOptions

  constructor(options: LeaseOptions) {
    this.#options = options
  }

  /**
   * The result of the holder of the lease at `key`: ours, or that of another. Throws WECHAT_TIMEOUT after two leases:
   * one holder may have died, and the next one needs its time too.
   */
  async run<T extends NonNullable<unknown>>(key: string, { hold, wait }: Turn<T>): Promise<T> {
    const { redis, leaseMs, detail, ownerPrefix = '' } = this.#options
    const lease = new Lease(redis, key, ownerPrefix + randomUUID(), leaseMs)
    const result = await poll(performance.now() + 2 * leaseMs, async () => {
      const found = await lease.claim()
      return found === null ? lease.hold(() => hold(lease)) : wait(found, lease)
    })
    if (result === undefined) throw new ServiceError('WECHAT_TIMEOUT', { detail })
    return result
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
