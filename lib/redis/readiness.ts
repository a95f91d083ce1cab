/**
 * Knows whether Redis does what the service needs. If it does not, the log says so once, and Redis is tried until it
 * does. All connections are replaced if new ones would be served, as after a failover that leaves the old ones open.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { connectOnce, settled } from './connect.ts'
import { lackingCommands } from './needed-commands.ts'
import type { RedisPool } from './pool.ts'
import { type ProbeKey, probe, probeAll } from './probe.ts'
import { CLOSED, lackOf, NO_ANSWER, type Trouble, troubleOf, unforeseen } from './trouble.ts'

/** The pause between two looks while Redis is in trouble. */
const LOOK_MS = 500
/** The pause while all is well. Without these looks an idle worker would not notice that its Redis is gone. */
const WATCH_MS = 5000
/** How long an answer may be used again, for callers without a key. */
const KEPT_MS = 100
/** The time that a connection gets to be replaced. */
const RECONNECT_MS = 200

export interface ReadinessOptions {
  url: string
  pool: RedisPool
  key: ProbeKey
  /** Finds what this Redis can never do, from what it tells about itself. */
  inspect: (redis: Redis) => Promise<Trouble | undefined>
  /** Called once for each cause, from the first trouble until `onUsable`. */
  onTrouble: (trouble: Trouble) => void
  onUsable: () => void
}

interface Verdict {
  trouble: Trouble | undefined
  at: number
}

export class Readiness {
  readonly #options: ReadinessOptions
  readonly #closing = new AbortController()
  #asked: Promise<Trouble | undefined> | undefined
  #last: Verdict | undefined
  /** What the log has said about the present trouble. */
  #incident: { told: Set<string> } | undefined
  /** The time since which the address may lead to another Redis, by performance.now(). */
  #movedAt: number | undefined
  #looking = false
  /** Whether the connection for requests was asked what only a new one is asked. */
  #inspected = false
  /** Why the last attempt to connect failed; undefined after one that did not. */
  #way: Trouble | undefined

  constructor(options: ReadinessOptions) {
    this.#options = options
    const { prompt } = options.pool
    prompt.on('close', () => {
      this.#movedAt ??= performance.now()
      this.#way ??= CLOSED
      this.#inspected = false
      this.#last = undefined
    })
    prompt.on('ready', () => {
      if (this.#movedAt !== undefined) void this.#look()
    })
    const watch = setInterval(() => void this.#look(), WATCH_MS).unref()
    this.#closing.signal.addEventListener('abort', () => clearInterval(watch))
  }

  /** undefined: Redis does what is needed. All who ask at once share one probe. Never rejects. */
  check(): Promise<Trouble | undefined> {
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined
    })
    return this.#asked
  }

  /** As check(), but what was found within the last tenth of a second will do. */
  async checkSometimes(): Promise<Trouble | undefined> {
    const { trouble, at } = this.#last ?? { trouble: undefined, at: Number.NEGATIVE_INFINITY }
    return performance.now() - at < KEPT_MS ? trouble : this.check()
  }

  /** The connection for requests could not be made, or broke. */
  failed(error: Error): void {
    this.#way = troubleOf(error) ?? { ...NO_ANSWER, cause: error.name }
    this.#judge(this.#way)
  }

  /** Some connection was refused. */
  refused({ cause }: Trouble): void {
    this.#last = undefined
    if (cause === 'NOPERM') this.#inspected = false
    void this.#look()
  }

  close(): void {
    this.#closing.abort()
  }

  async #ask(): Promise<Trouble | undefined> {
    const trouble = await this.#find().catch((error: unknown) => this.#explain(error))
    if (trouble === undefined) this.#way = undefined
    this.#judge(trouble)
    return trouble
  }

  async #find(): Promise<Trouble | undefined> {
    const { pool, key, inspect } = this.#options
    await settled(pool.prompt, RECONNECT_MS)
    if (pool.prompt.status !== 'ready') return this.#way ?? NO_ANSWER
    const tryOut = this.#inspected ? probe : probeAll
    // In one round trip. Rights can be taken away at any time, and most are not needed for the probe.
    const [, lacking] = await Promise.all([tryOut(pool.prompt, key), lackingCommands(pool.prompt, key(0))])
    const trouble = (this.#inspected ? undefined : await inspect(pool.prompt)) ?? lackOf(lacking)
    this.#inspected = trouble === undefined
    return trouble
  }

  /** The reason why a connection was closed says more than the fact that it is closed. */
  #explain(error: unknown): Trouble {
    const trouble = troubleOf(error) ?? unforeseen(error)
    return trouble.cause === CLOSED.cause ? (this.#way ?? trouble) : trouble
  }

  #judge(trouble: Trouble | undefined): void {
    if (this.#closing.signal.aborted) return
    this.#last = { trouble, at: performance.now() }
    if (trouble === undefined) this.#end()
    else this.#begin(trouble)
  }

  #begin(trouble: Trouble): void {
    this.#movedAt ??= performance.now()
    this.#incident ??= { told: new Set() }
    const { told } = this.#incident
    if (!told.has(trouble.cause)) this.#options.onTrouble(trouble)
    told.add(trouble.cause)
    void this.#look()
  }

  #end(): void {
    if (this.#movedAt !== undefined) this.#options.pool.replaceOthers(this.#movedAt)
    this.#movedAt = undefined
    if (this.#incident !== undefined) this.#options.onUsable()
    this.#incident = undefined
  }

  /** Looks again and again, one at a time, until Redis serves all connections. */
  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const { pool } = this.#options
    while (!this.#closing.signal.aborted) {
      const trouble = await this.check()
      if (trouble === undefined) pool.replaceOthers()
      else if (trouble.mayBeElsewhere && (await this.#onlyOthersServe())) pool.replaceAll()
      if (trouble === undefined && !pool.hasRefused) break
      await pause(LOOK_MS, undefined, { signal: this.#closing.signal, ref: false }).catch(() => undefined)
    }
    this.#looking = false
  }

  /** Asked once more, since Redis may just have got well: those that it serves are then left alone. */
  async #onlyOthersServe(): Promise<boolean> {
    return (await this.#otherServes()) && (await this.check()) !== undefined
  }

  /** Whether a new connection to the same address leads to a Redis that serves. */
  async #otherServes(): Promise<boolean> {
    try {
      const redis = await connectOnce(this.#options.url)
      return await probeAll(redis, this.#options.key)
        .then(() => true)
        .finally(() => redis.disconnect())
    } catch {
      return false
    }
  }
}
