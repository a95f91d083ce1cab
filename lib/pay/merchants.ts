/** The configured merchants, by mchid, and which of WeChat Pay's APIs each of them can use. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings.ts'
import type { ApiName } from './api.ts'

export interface Merchants {
  all: readonly Merchant[]
  find(mchid: string): Merchant | undefined
  /** The merchant and the app of an order; what was left out is whatever is the only one that fits. Throws APP_UNKNOWN. */
  pick(mchid: string | undefined, appid: string | undefined): { merchant: Merchant; appid: string }
  /** The merchant of something that is no order; left out, the only one there is. Throws APP_UNKNOWN. */
  one(mchid: string | undefined): Merchant
}

export function createMerchants(merchants: readonly Merchant[]): Merchants {
  const byMchid = new Map(merchants.map((merchant) => [merchant.mchid, merchant]))

  return {
    all: merchants,
    find: (mchid) => byMchid.get(mchid),
    pick(mchid, appid) {
      const candidates = merchants
        .filter((merchant) => mchid === undefined || merchant.mchid === mchid)
        .flatMap((merchant) => merchant.appids.map((each) => ({ merchant, appid: each })))
        .filter((candidate) => appid === undefined || candidate.appid === appid)
      return onlyOf(candidates, 'Several merchants or apps fit; say which by mchid and appid')
    },
    one(mchid) {
      const candidates = mchid === undefined ? merchants : merchants.filter((merchant) => merchant.mchid === mchid)
      return onlyOf(candidates, 'There are several merchants; say which by mchid')
    }
  }
}

function onlyOf<T>(candidates: readonly T[], message: string): T {
  const [only, another] = candidates
  if (only === undefined) throw new ServiceError('APP_UNKNOWN')
  if (another !== undefined) throw new ServiceError('APP_UNKNOWN', { message })
  return only
}

const hasKeysOf = ({ apiV2Key, apiV3Key }: Merchant, api: ApiName): boolean =>
  (api === 'v3' ? apiV3Key : apiV2Key) !== undefined

/** The api that was asked for, else v3 where its keys are configured, else v2. Throws PAY_REJECTED where its keys are not. */
export function apiOf(merchant: Merchant, wanted: ApiName | undefined): ApiName {
  const api = wanted ?? (hasKeysOf(merchant, 'v3') ? 'v3' : 'v2')
  if (hasKeysOf(merchant, api)) return api
  throw new ServiceError('PAY_REJECTED', {
    message: `This merchant has no keys of api ${api}: configure them, or use the other api`
  })
}

/** For what was made by `api`: the same one while its keys are configured, else the other. They share orders and refunds (pay.md 0). */
export function apiLike(merchant: Merchant, api: ApiName): ApiName {
  return hasKeysOf(merchant, api) ? api : apiOf(merchant, undefined)
}

/** The merchant in the name of one app alone: APIv2 names an app in every call. */
export const withApp = (merchant: Merchant, appid: string): Merchant => ({ ...merchant, appids: [appid] })
