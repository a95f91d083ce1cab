/** Keeps the platform certificates of all merchants fresh, beside the requests. */
import { setTimeout as pause } from 'node:timers/promises'
import type { CredentialsV3 } from './credentials.ts'
import type { PlatformKeyStore } from './platform-keys.ts'

/** One read in Redis for each merchant; WeChat is asked where the list is missing or old, by one instance. */
const CHECK_MS = 60_000

export interface Renewal {
  /** Ends the timer; a request under way ends with its connection. */
  stop(): void
  readonly stopped: boolean
}

/** Looks at once, then every minute or a little later, so that instances do not stay in step. */
export function startRenewal(
  store: Pick<PlatformKeyStore, 'renew'>,
  accounts: readonly CredentialsV3[],
  checkMs: number = CHECK_MS
): Renewal {
  const stopping = new AbortController()
  const { signal } = stopping
  // With a public key, certificates matter only where a message names one.
  const renewed = accounts.filter(({ publicKey }) => publicKey === undefined)

  async function run(): Promise<void> {
    while (!signal.aborted) {
      for (const account of renewed) await store.renew(account)
      await pause(checkMs * (1 + 0.1 * Math.random()), undefined, { signal, ref: false })
    }
  }

  if (renewed.length > 0)
    run().catch(() => {
      // Stopped while it paused: renew() itself never throws.
    })
  return {
    stop: () => stopping.abort(),
    get stopped() {
      return signal.aborted
    }
  }
}
