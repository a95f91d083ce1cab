/** The live parts of APIv3, put together: what is asked of WeChat, and the keys by which it is believed. */
import type { Redis } from 'ioredis'
import type { Sealer } from '../../crypto/seal.ts'
import type { Upstream } from '../../http/upstream.ts'
import type { Meters } from '../../metrics/meters.ts'
import type { Keys } from '../../redis/keys.ts'
import type { Merchant } from '../../settings/model.ts'
import type { PayApi } from '../model.ts'
import { createPayApiV3 } from './api.ts'
import { CertificateRecords } from './certificate-record.ts'
import { createClientV3 } from './client.ts'
import { AccountsV3 } from './credentials.ts'
import { PlatformKeyStore } from './platform-keys.ts'
import { startRenewal } from './renewal.ts'
import { createSenderV3 } from './send.ts'

export interface PayV3 {
  api: PayApi
  accounts: AccountsV3
  platformKeys: PlatformKeyStore
  /** From now on the platform certificates are kept fresh, until what it answers is called. */
  startRenewal(): () => void
}

export interface PayOptionsV3 {
  merchants: readonly Merchant[]
  upstream: Pick<Upstream, 'send' | 'open'>
  /** Of one request to WeChat. */
  timeoutMs: number
  /** Where WeChat reaches us, without a trailing slash. */
  publicUrl: string
  redis: Redis
  keys: Keys
  sealer: Sealer
  meters: Pick<Meters, 'upstreamCall'>
  /** The platform certificates of a merchant could not be fetched. */
  onFailure: (mchid: string, error: unknown) => void
  /** Milliseconds since 1970. */
  now: () => number
}

export function createPayV3(options: PayOptionsV3): PayV3 {
  const { upstream, timeoutMs, publicUrl, redis, keys, sealer, meters, onFailure, now } = options
  const accounts = new AccountsV3(options.merchants)
  const sender = createSenderV3({ upstream, meters, now })
  const records = new CertificateRecords({ redis, keys, sealer })
  const platformKeys = new PlatformKeyStore({ redis, keys, records, sender, timeoutMs, onFailure, now })
  const client = createClientV3({ sender, platformKeys, timeoutMs })
  return {
    api: createPayApiV3({ accounts, client, sender, publicUrl, now }),
    accounts,
    platformKeys,
    startRenewal: () => startRenewal(platformKeys, accounts.all)
  }
}
