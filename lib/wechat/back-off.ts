/** Pauses between attempts at something that keeps failing, so that callers in a hurry do not make it worse. */

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 30_000

interface Failure {
  error: unknown
  count: number
  /** Milliseconds since 1970. */
  until: number
}

/**
 * Runs `load`, or throws what it threw last while the pause after that still lasts: 1 s, doubling to 30 s, none after a
 * success.
 */
export function createBackOff(now: () => number): <T>(key: string, load: () => Promise<T>) => Promise<T> {
  const failures = new Map<string, Failure>()

  return async (key, load) => {
    const last = failures.get(key)
    if (last !== undefined && now() < last.until) throw last.error
    try {
      const result = await load()
      failures.delete(key)
      return result
    } catch (error) {
      const count = (last?.count ?? 0) + 1
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (count - 1), LONGEST_PAUSE_MS)
      failures.set(key, { error, count, until: now() + pauseMs })
      throw error
    }
  }
}
