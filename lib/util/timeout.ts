/** Waiting with an end. */
import { Deadline } from './deadline.ts'

/** What `promise` resolves to, or undefined after `timeoutMs`. Throws what it is rejected with in time. */
export async function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  const deadline = new Deadline(timeoutMs)
  const { promise: over, resolve } = Promise.withResolvers<undefined>()
  deadline.whenOver(() => resolve(undefined))
  return Promise.race([promise, over]).finally(() => deadline.stop())
}
