/** The live parts of APIv3, put together: what is asked of WeChat, and the keys by which it is believed. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Sealer } from '../../crypto/seal.ts'
import type { Merchant } from '../../settings/model.ts'
import type { PayApi } from '../model.ts'
import { PayApiV3 } from './api.ts'
import { CertificateRecords } from './certificates.ts'
import { ClientV3, type SenderOptionsV3, SenderV3 } from './client.ts'
import type { CredentialsV3 } from './crypto.ts'
import { AccountsV3, type PlatformKeyOptions, PlatformKeyStore } from './keys.ts'

export interface PayOptionsV3 extends SenderOptionsV3, Omit<PlatformKeyOptions, 'records' | 'sender'> {
  merchants: readonly Merchant[]
  /** Where WeChat reaches us, without a trailing slash. */
  publicUrl: string
  sealer: Sealer
}

/** One read in Redis for each merchant; WeChat is asked where the list is missing or old, by one instance. */
const CHECK_MS = 60_000
/** While any are missing or old. How often WeChat is asked then is for the store to say. */
const RETRY_MS = 2000

export class PayV3 {
  readonly api: PayApi
  readonly accounts: AccountsV3
  readonly platformKeys: PlatformKeyStore

  constructor(options: PayOptionsV3) {
    const { upstream, timeoutMs, publicUrl, redis, keys, sealer, meters, onFailure, now } = options
    const sender = new SenderV3({ upstream, meters, now })
    const records = new CertificateRecords({ redis, keys, sealer })
    this.accounts = new AccountsV3(options.merchants)
    this.platformKeys = new PlatformKeyStore({ redis, keys, records, sender, timeoutMs, onFailure, now })
    const client = new ClientV3({ sender, platformKeys: this.platformKeys, timeoutMs })
    this.api = new PayApiV3({ accounts: this.accounts, client, sender, publicUrl, now })
  }

  /**
   * Keeps the platform certificates fresh, beside the requests. Looks at once, then every minute, sooner while it lacks
   * any; and always a little later, so that instances do not stay in step. Answers what stops it; a request under way
   * ends with its connection.
   */
  startRenewal(): () => void {
    const stopping = new AbortController()
    // With a public key, certificates matter only where a message names one.
    const renewed = this.accounts.all.filter(({ publicKey }) => publicKey === undefined)
    if (renewed.length > 0)
      this.#keepRenewing(renewed, stopping.signal).catch(() => {
        // Stopped while it paused: renew() itself never throws.
      })
    return () => stopping.abort()
  }

  async #keepRenewing(renewed: readonly CredentialsV3[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let isComplete = true
      for (const account of renewed) isComplete = (await this.platformKeys.renew(account)) && isComplete
      await pause((isComplete ? CHECK_MS : RETRY_MS) * (1 + 0.1 * Math.random()), undefined, { signal, ref: false })
    }
  }
}
