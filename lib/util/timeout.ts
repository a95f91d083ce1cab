/** Waiting with an end. */
import { setTimeout as pause } from 'node:timers/promises'

/** Waits for `promise`, but no longer than `timeoutMs`. Throws what it is rejected with in time. */
export async function withTimeout(promise: Promise<void>, timeoutMs: number): Promise<void> {
  const done = new AbortController()
  const over = pause(timeoutMs, undefined, { signal: done.signal }).catch(() => undefined)
  await Promise.race([promise, over]).finally(() => done.abort())
}
