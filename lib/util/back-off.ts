/** Pauses between attempts at something that keeps failing, so that callers in a hurry do not make it worse. */

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 30_000

interface Failure {
  error: unknown
  count: number
  /** Milliseconds since 1970. */
  until: number
}

export class BackOff {
  readonly #now: () => number
  readonly #failures = new Map<string, Failure>()

  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Runs `load`, or throws what it threw last while the pause after that still lasts: 1 s, doubling to 30 s, none after
   * a success.
   */
  async run<T>(key: string, load: () => Promise<T>): Promise<T> {
    const last = this.#failures.get(key)
    if (last !== undefined && this.#now() < last.until) throw last.error
    try {
      const result = await load()
      this.#failures.delete(key)
      return result
    } catch (error) {
      const count = (last?.count ?? 0) + 1
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (count - 1), LONGEST_PAUSE_MS)
      this.#failures.set(key, { error, count, until: this.#now() + pauseMs })
      throw error
    }
  }
}
