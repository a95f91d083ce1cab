/** Keeps the platform certificates of all merchants fresh, beside the requests. */
import { setTimeout as pause } from 'node:timers/promises'
import type { CredentialsV3 } from './credentials.ts'
import type { PlatformKeyStore } from './platform-keys.ts'

/** One read in Redis for each merchant; WeChat is asked where the list is missing or old, by one instance. */
const CHECK_MS = 60_000
/** While any are missing or old. How often WeChat is asked then is for the store to say. */
const RETRY_MS = 2000

/**
 * Looks at once, then every minute, sooner while it lacks any; and always a little later, so that instances do not stay
 * in step. Answers what stops it; a request under way ends with its connection.
 */
export function startRenewal(store: Pick<PlatformKeyStore, 'renew'>, accounts: readonly CredentialsV3[]): () => void {
  const stopping = new AbortController()
  const { signal } = stopping
  // With a public key, certificates matter only where a message names one.
  const renewed = accounts.filter(({ publicKey }) => publicKey === undefined)

  async function run(): Promise<void> {
    while (!signal.aborted) {
      let isComplete = true
      for (const account of renewed) isComplete = (await store.renew(account)) && isComplete
      await pause((isComplete ? CHECK_MS : RETRY_MS) * (1 + 0.1 * Math.random()), undefined, { signal, ref: false })
    }
  }

  if (renewed.length > 0)
    run().catch(() => {
      // Stopped while it paused: renew() itself never throws.
    })
  return () => stopping.abort()
}
