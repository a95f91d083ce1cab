/**
 * EVENT_DURABILITY=fsync: what Redis has confirmed counts only once it is on Redis' disk. Redis sees to that before
 * each answer (appendfsync always), or is asked after the write (WAITAOF, from Redis 7.2 on:
 * redis.io/commands/waitaof).
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { settled } from './connect.ts'
import { readPairs } from './server-facts.ts'
import { closeWhenSilent } from './silence.ts'
import { troubleOf } from './trouble.ts'

/** How long Redis may take to write; with appendfsync everysec it does so once a second. */
const FSYNC_MS = 1500
/** For the connection: a little more than Redis itself takes to give up. */
const ANSWER_MS = 2000
const CONNECT_MS = 500
const MARK_SECONDS = 60

/** always: by Redis' settings; ask: by WAITAOF after each write. */
type Way = { way: 'always' } | { way: 'ask' } | { way: 'none'; problem: string }

export interface DurabilityOptions {
  redis: Redis
  /** A key that is written to know how far the disk is. */
  mark: string
}

export class Durability {
  readonly #redis: Redis
  readonly #disk: Disk
  #known: Way | undefined
  /** Another connection may lead to another Redis, or to one that lost what it had confirmed. */
  #connections = 0
  readonly #forget = (): void => {
    this.#known = undefined
    this.#connections += 1
  }

  constructor({ redis, mark }: DurabilityOptions) {
    this.#redis = redis
    this.#disk = new Disk(redis, mark)
    redis.on('ready', this.#forget)
  }

  /**
   * Before a write. What it resolves to is called after Redis confirmed the write, and resolves once that is on disk.
   * It throws REDIS_UNAVAILABLE where that is not known in time; the write may stand all the same. Throws where Redis
   * is away.
   */
  async begin(): Promise<() => Promise<void>> {
    const found = await this.#find()
    const before = this.#connectionsMade
    return async () => {
      if (found.way === 'none') throw notOnDisk(found.problem)
      if (found.way === 'ask') await this.#disk.reach()
      if (this.#connectionsMade !== before) throw notOnDisk('the connection to Redis broke meanwhile')
    }
  }

  /** Why this Redis cannot promise it; undefined where it can. Throws whatever says that Redis is away. */
  async problem(): Promise<string | undefined> {
    const found = await this.#find()
    return found.way === 'none' ? found.problem : undefined
  }

  close(): void {
    this.#redis.off('ready', this.#forget)
    this.#disk.close()
  }

  get #connectionsMade(): number {
    return this.#connections + this.#disk.connections
  }

  /** What is not good enough is asked again each time, since it may be set right while both run. */
  async #find(): Promise<Way> {
    if (this.#known !== undefined) return this.#known
    const at = this.#connections
    const found = await findWay(this.#redis, this.#disk)
    if (found.way !== 'none' && at === this.#connections) this.#known = found
    return found
  }
}

const notOnDisk = (detail: string, cause?: unknown) => new ServiceError('REDIS_UNAVAILABLE', { detail, cause })

async function findWay(redis: Redis, disk: Disk): Promise<Way> {
  const settings = await readSettings(redis)
  const { appendonly, appendfsync } = settings ?? {}
  if (appendonly === 'no')
    return { way: 'none', problem: `Redis keeps nothing on disk: set appendonly yes and ${ALWAYS}` }
  const skips = settings?.['no-appendfsync-on-rewrite'] === 'yes'
  if (appendfsync === 'always' && !skips) return { way: 'always' }
  if (appendfsync === 'no') return { way: 'none', problem: `Redis leaves writing to the system: set ${ALWAYS}` }
  if (await disk.canBeAsked()) return { way: 'ask' }
  return { way: 'none', problem: `Redis does not say when it has written (WAITAOF, from 7.2 on): set ${ALWAYS}` }
}

const ALWAYS = 'appendfsync always, and no-appendfsync-on-rewrite no'

/** undefined where this Redis does not show its settings, as hosted ones do. */
async function readSettings(redis: Redis): Promise<Record<string, string> | undefined> {
  try {
    return readPairs(await redis.config('GET', '*append*'))
  } catch (error) {
    if (!isWithheld(error)) throw error
    return undefined
  }
}

/** Whether Redis lacks the command, or forbids it to us. Elsewhere this counts as away. */
function isWithheld(error: unknown): boolean {
  const trouble = troubleOf(error)
  return trouble === undefined || ['NOPERM', 'COMMAND'].includes(trouble.cause)
}

/** Uses a connection of its own, because WAITAOF blocks it. All who come during one wait share the next one. */
class Disk {
  readonly #redis: Redis
  readonly #mark: string
  #connection: Redis | undefined
  #connections = 0
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  constructor(redis: Redis, mark: string) {
    this.#redis = redis
    this.#mark = mark
  }

  /** How often a connection was made. */
  get connections(): number {
    return this.#connections
  }

  /** Whether Redis knows WAITAOF. */
  async canBeAsked(): Promise<boolean> {
    const redis = await this.#connect()
    try {
      // Nothing was written by this connection, so that it need not wait.
      return Array.isArray(await redis.call('WAITAOF', 1, 0, FSYNC_MS))
    } catch (error) {
      if (!isWithheld(error)) throw error
      return false
    }
  }

  /** Resolves once all that Redis confirmed before is on its disk. Throws where that takes too long. */
  async reach(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      const waiting = this.#wait()
      this.#running = waiting.catch(() => undefined)
      return waiting
    })
    await this.#next.catch((error: unknown) => {
      throw notOnDisk('Redis did not say in time that it has written', error)
    })
  }

  close(): void {
    this.#connection?.disconnect()
  }

  async #connect(): Promise<Redis> {
    this.#connection ??= this.#open()
    await settled(this.#connection, CONNECT_MS)
    return this.#connection
  }

  #open(): Redis {
    const redis = this.#redis.duplicate()
    closeWhenSilent(redis, ANSWER_MS)
    redis.on('error', () => undefined)
    redis.on('ready', () => {
      this.#connections += 1
    })
    return redis
  }

  /** WAITAOF speaks of the writes of its own connection; what others wrote before is in the file before them. */
  async #wait(): Promise<void> {
    const redis = await this.#connect()
    const marked = redis.set(this.#mark, '1', 'EX', MARK_SECONDS)
    const asked = redis.call('WAITAOF', 1, 0, FSYNC_MS) as Promise<[local: number, replicas: number]>
    const [[local]] = await Promise.all([asked, marked])
    if (Number(local) < 1) throw new Error('not written in time')
  }
}
