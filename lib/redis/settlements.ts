/**
 * Ends leases for which Redis was away when their work was done. They are ended as soon as it works again: otherwise
 * all others would wait until the time of these leases is over.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isRedisAway } from './trouble.ts'

const PAUSE_MS = 250

/** What ends a lease; it has to do nothing where that lease is somebody else's by now. */
export type Settle = () => Promise<unknown>

export class Settlements {
  readonly #closing = new AbortController()
  /** When each is given up, by performance.now(): its lease has ended by itself then. */
  readonly #due = new Map<Settle, number>()
  #isTrying = false

  /** Tries `settle` every 250 ms until Redis has answered it, but no longer than `leaseMs`. Nobody waits for that. */
  add(settle: Settle, leaseMs: number): void {
    if (this.#closing.signal.aborted) return
    this.#due.set(settle, performance.now() + leaseMs)
    void this.#tryAgain()
  }

  /** No command is sent from now on. */
  close(): void {
    this.#closing.abort()
    this.#due.clear()
  }

  async #tryAgain(): Promise<void> {
    if (this.#isTrying) return
    this.#isTrying = true
    while (this.#due.size > 0) {
      await pause(PAUSE_MS, undefined, { signal: this.#closing.signal, ref: false }).catch(() => undefined)
      await this.#tryAll()
    }
    this.#isTrying = false
  }

  /** One after the other, so that a Redis that is still away is asked only once. */
  async #tryAll(): Promise<void> {
    for (const [settle, giveUpAt] of this.#due) {
      if (performance.now() < giveUpAt && !(await isAnswered(settle))) return
      this.#due.delete(settle)
    }
  }
}

const isAnswered = (settle: Settle): Promise<boolean> =>
  settle().then(
    () => true,
    (error: unknown) => !isRedisAway(error)
  )
