/** The credentials of all merchants that use APIv3, by mchid. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings.ts'
import { type CredentialsV3, readCredentialsV3 } from './credentials.ts'

export interface AccountsV3 {
  find(mchid: string): CredentialsV3 | undefined
  /** Throws WECHAT_CONFIG_INVALID where the merchant has no keys for APIv3; the message names the settings. */
  of(merchant: Pick<Merchant, 'mchid'>): CredentialsV3
  all: readonly CredentialsV3[]
}

export function createAccountsV3(merchants: readonly Merchant[]): AccountsV3 {
  const all = merchants.map(readCredentialsV3).filter((credentials) => credentials !== undefined)
  const byMchid = new Map(all.map((credentials) => [credentials.mchid, credentials]))

  return {
    all,
    find: (mchid) => byMchid.get(mchid),
    of({ mchid }) {
      const credentials = byMchid.get(mchid)
      if (credentials !== undefined) return credentials
      throw new ServiceError('WECHAT_CONFIG_INVALID', {
        message:
          'This merchant has no keys for api v3: set WECHAT_PAY_API_V3_KEY (apiV3Key), ' +
          'WECHAT_PAY_CERT_SERIAL (certSerial) and WECHAT_PAY_PRIVATE_KEY (privateKey), or use api v2'
      })
    }
  }
}
