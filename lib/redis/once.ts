/**
 * Work that is done once, on however many instances it is asked for: whoever asks at the same time, or soon after, gets
 * the same result.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { singleFlight } from '../single-flight.ts'
import { defineScript, runScript } from './script.ts'
import { unlessWrongType } from './wrong-type.ts'

const POLL_MS = 50
const CLAIM = 'claim:'

export interface OnceOptions {
  redis: Redis
  /** How long one piece of work can take; who holds a claim for longer is taken for dead. */
  leaseMs: number
  /** How long a result is good for others. */
  keptMs: number
}

export interface Task<T> {
  /** The Redis key of this piece of work: who does it, then what came of it. */
  place: string
  work(): Promise<T>
  /** The result as text, for others; it must not begin with `claim:`. */
  write(result: T): string
  /** The result of another; undefined where it is good no more, and the work is done anew. */
  read(text: string): Promise<T | undefined>
}

/**
 * Throws what `work` throws, and WECHAT_TIMEOUT where others claimed the work and did not finish. Failures are not kept
 * for others.
 */
export type Once = <T>(task: Task<T>) => Promise<T>

/**
 * KEYS place · ARGV what it holds, result or '', its life (ms): leaves or removes something only where nobody else came
 * between.
 */
const SETTLE = defineScript(
  1,
  `
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1
  `
)

export function createOnce({ redis, leaseMs, keptMs }: OnceOptions): Once {
  const flight = singleFlight<unknown>()

  /**
   * One round trip claims the place. Where another instance holds the claim we wait for its result, or until it failed
   * or its lease ended, and then work ourselves. Two leases are waited for: one holder may have died, and who comes
   * after it takes its time too.
   */
  async function claimAndWork<T>(task: Task<T>): Promise<T> {
    const owner = `${CLAIM}${randomUUID()}`
    const giveUpAt = performance.now() + 2 * leaseMs
    while (performance.now() < giveUpAt) {
      const found = await unlessWrongType(redis.set(task.place, owner, 'PX', leaseMs, 'NX', 'GET'), () => undefined)
      if (found === null) return workAndSettle(task, owner)
      if (found === undefined) {
        await redis.del(task.place)
        continue
      }
      if (found.startsWith(CLAIM)) {
        await pause(POLL_MS)
        continue
      }
      const result = await task.read(found)
      if (result !== undefined) return result
      settle(task.place, found, '')
    }
    throw new ServiceError('WECHAT_TIMEOUT', {
      detail: 'another instance claimed this code and did not finish in time'
    })
  }

  /**
   * Nobody waits for it: who comes in between finds the claim and looks again. With Redis away the claim ends by
   * itself.
   */
  function settle(place: string, held: string, result: string): void {
    runScript(redis, SETTLE, [place], [held, result, keptMs]).catch(() => {
      // The work stands or failed by itself; only a second caller would wait for the lease, and do it again.
    })
  }

  async function workAndSettle<T>({ place, work, write }: Task<T>, owner: string): Promise<T> {
    try {
      const result = await work()
      settle(place, owner, write(result))
      return result
    } catch (error) {
      settle(place, owner, '')
      throw error
    }
  }

  return <T>(task: Task<T>) => flight(task.place, () => claimAndWork(task)) as Promise<T>
}
