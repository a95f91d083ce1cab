/** The configured merchants, by mchid. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings.ts'

export interface Merchants {
  find(mchid: string): Merchant | undefined
  /** The merchant and the app of an order; what was left out is whatever is the only one that fits. Throws APP_UNKNOWN. */
  pick(mchid: string | undefined, appid: string | undefined): { merchant: Merchant; appid: string }
}

export function createMerchants(merchants: readonly Merchant[]): Merchants {
  const byMchid = new Map(merchants.map((merchant) => [merchant.mchid, merchant]))

  return {
    find: (mchid) => byMchid.get(mchid),
    pick(mchid, appid) {
      const candidates = merchants
        .filter((merchant) => mchid === undefined || merchant.mchid === mchid)
        .flatMap((merchant) => merchant.appids.map((each) => ({ merchant, appid: each })))
        .filter((candidate) => appid === undefined || candidate.appid === appid)
      const [only, another] = candidates
      if (only === undefined) throw new ServiceError('APP_UNKNOWN')
      if (another !== undefined)
        throw new ServiceError('APP_UNKNOWN', {
          message: 'Several merchants or apps fit; say which by mchid and appid'
        })
      return only
    }
  }
}
