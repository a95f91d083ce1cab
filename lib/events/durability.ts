/**
 * EVENT_DURABILITY=fsync: what Redis has confirmed counts only once it is on Redis' disk. Redis sees to that before
 * each answer (appendfsync always), or is asked after the write (WAITAOF, from Redis 7.2 on:
 * redis.io/commands/waitaof).
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { settled } from '../redis/connect.ts'
import { readPairs } from '../redis/server-facts.ts'
import { troubleOf } from '../redis/trouble.ts'
import { Issues } from '../settings/issues.ts'

/** How long Redis may take to write; with appendfsync everysec it does so once a second. */
const FSYNC_MS = 1500
/** For the connection: a little more than Redis itself takes to give up. */
const ANSWER_MS = 2000
const CONNECT_MS = 500
const MARK_SECONDS = 60

export interface Durability {
  /**
   * Before a write. What it resolves to is called after Redis confirmed the write, and resolves once that is on disk.
   * It throws REDIS_UNAVAILABLE where that is not known in time; the write may stand all the same. Throws where Redis
   * is away.
   */
  begin(): Promise<() => Promise<void>>
  /** Throws SettingsError where this Redis cannot promise it, and whatever says that Redis is away. */
  check(): Promise<void>
  close(): void
}

/** always: by Redis' settings; ask: by WAITAOF after each write. */
type Way = { way: 'always' } | { way: 'ask' } | { way: 'none'; problem: string }

export interface DurabilityOptions {
  redis: Redis
  /** A key that is written to know how far the disk is. */
  mark: string
}

export function createDurability({ redis, mark }: DurabilityOptions): Durability {
  const disk = createDisk(redis, mark)
  let known: Way | undefined
  /** Another connection may lead to another Redis, or to one that lost what it had confirmed. */
  let connections = 0
  redis.on('ready', forget)

  function forget(): void {
    known = undefined
    connections += 1
  }

  /** What is not good enough is asked again each time, since it may be set right while both run. */
  async function find(): Promise<Way> {
    if (known !== undefined) return known
    const [at, found] = [connections, await findWay(redis, disk)]
    if (found.way !== 'none' && at === connections) known = found
    return found
  }

  return {
    async begin() {
      const found = await find()
      const before = connections + disk.connections()
      return async () => {
        if (found.way === 'none') throw notOnDisk(found.problem)
        if (found.way === 'ask') await disk.reach()
        if (connections + disk.connections() !== before) throw notOnDisk('the connection to Redis broke meanwhile')
      }
    },
    async check() {
      const found = await find()
      const issues = new Issues()
      if (found.way === 'none') issues.add('EVENT_DURABILITY', `is fsync, but ${found.problem}`)
      issues.throwIfAny()
    },
    close() {
      redis.off('ready', forget)
      disk.close()
    }
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

/** That this Redis does not have a command, or not for us; elsewhere that counts as away. */
function isWithheld(error: unknown): boolean {
  const trouble = troubleOf(error)
  return trouble === undefined || ['NOPERM', 'COMMAND'].includes(trouble.cause)
}

interface Disk {
  canBeAsked(): Promise<boolean>
  /** Resolves once all that Redis confirmed before is on its disk. Throws where that takes too long. */
  reach(): Promise<void>
  /** How often a connection was made. */
  connections(): number
  close(): void
}

/** By a connection of its own, which is blocked meanwhile. Whoever comes while one wait is on shares the next. */
function createDisk(redis: Redis, mark: string): Disk {
  let connection: Redis | undefined
  let connections = 0
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined

  async function connect(): Promise<Redis> {
    connection ??= redis
      .duplicate({ commandTimeout: ANSWER_MS, socketTimeout: ANSWER_MS, enableAutoPipelining: false })
      .on('error', () => undefined)
      .on('ready', () => {
        connections += 1
      })
    await settled(connection, CONNECT_MS)
    return connection
  }

  /** WAITAOF speaks of the writes of its own connection; what others wrote before is in the file before them. */
  async function wait(): Promise<void> {
    const redis = await connect()
    const marked = redis.set(mark, '1', 'EX', MARK_SECONDS)
    const asked = redis.call('WAITAOF', 1, 0, FSYNC_MS) as Promise<[local: number, replicas: number]>
    const [[local]] = await Promise.all([asked, marked])
    if (Number(local) < 1) throw new Error('not written in time')
  }

  return {
    async canBeAsked() {
      const redis = await connect()
      try {
        // Nothing was written by this connection, so that it need not wait.
        return Array.isArray(await redis.call('WAITAOF', 1, 0, FSYNC_MS))
      } catch (error) {
        if (!isWithheld(error)) throw error
        return false
      }
    },
    async reach() {
      next ??= running.then(() => {
        next = undefined
        const waiting = wait()
        running = waiting.catch(() => undefined)
        return waiting
      })
      await next.catch((error: unknown) => {
        throw notOnDisk('Redis did not say in time that it has written', error)
      })
    },
    connections: () => connections,
    close: () => connection?.disconnect()
  }
}
