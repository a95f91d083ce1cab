/** Waiting for what may never end, such as a farewell to a Redis that is gone. */
import { setTimeout as pause } from 'node:timers/promises'

/** Resolves with `promise`, or after `timeoutMs`. What is rejected in time is thrown. */
export async function within(promise: Promise<void>, timeoutMs: number): Promise<void> {
  const deadline = new AbortController()
  await Promise.race([promise, pause(timeoutMs, undefined, { signal: deadline.signal }).catch(() => undefined)])
  deadline.abort()
}
