/**
 * Work that is done once, on however many instances it is asked for: callers at the same time, or soon after, get the
 * same result.
 */
import { singleFlight } from '../util/single-flight.ts'
import type { Lease, LeaseKind, Leases } from './lease.ts'

const CLAIM = 'claim:'

export interface OnceOptions {
  leases: Pick<Leases, 'run'>
  /** How long one piece of work can take. */
  leaseMs: number
  /** How long others get its result. */
  keptMs: number
}

export interface Task<T> {
  /** The Redis key of this piece of work: who does it, then its result. */
  key: string
  work(): Promise<T>
  /** The result as text, for others; it must not begin with `claim:`. */
  write(result: T): string
  /** The result of another caller; undefined where it does not hold any more, and the work is done anew. */
  read(text: string): Promise<T | undefined>
}

export class Once {
  readonly #leases: OnceOptions['leases']
  readonly #kind: LeaseKind
  readonly #keptMs: number
  readonly #flight = singleFlight<unknown>()

  constructor({ leases, leaseMs, keptMs }: OnceOptions) {
    const detail = 'another instance claimed this code and did not finish in time'
    this.#leases = leases
    this.#kind = { leaseMs, detail, ownerPrefix: CLAIM }
    this.#keptMs = keptMs
  }

  /**
   * Throws what `work` throws, and WECHAT_TIMEOUT where others claimed the work and did not finish. Failures are not
   * kept for others.
   */
  run<T extends NonNullable<unknown>>(task: Task<T>): Promise<T> {
    return this.#flight(task.key, () => this.#share(task)) as Promise<T>
  }

  #share<T extends NonNullable<unknown>>(task: Task<T>): Promise<T> {
    const hold = (lease: Lease) => this.#work(task, lease)
    return this.#leases.run(task.key, this.#kind, {
      hold,
      async wait(found, lease) {
        if (found.startsWith(CLAIM)) return undefined
        const result = await task.read(found)
        if (result !== undefined) return result
        return (await lease.takeOver(found)) ? lease.hold(() => hold(lease)) : undefined
      }
    })
  }

  /** Nobody waits until the result is written: a caller in between finds the claim and looks again. */
  async #work<T>({ work, write }: Task<T>, lease: Lease): Promise<T> {
    const result = await work()
    lease.settle({ value: write(result), lifeMs: this.#keptMs }).catch(() => {
      // The work is done, and the lease writes its result later. Only a second caller waits for that.
    })
    return result
  }
}
