/** The configured merchants, by mchid, which of WeChat Pay's APIs each can use, and whose an order or refund is. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings/model.ts'
import type { ApiName, PayApis } from './model.ts'

export class Merchants {
  readonly all: readonly Merchant[]
  readonly #byMchid: ReadonlyMap<string, Merchant>

  constructor(merchants: readonly Merchant[]) {
    this.all = merchants
    this.#byMchid = new Map(merchants.map((merchant) => [merchant.mchid, merchant]))
  }

  find(mchid: string): Merchant | undefined {
    return this.#byMchid.get(mchid)
  }

  /**
   * The merchant and the app of an order; what was left out is whatever is the only one that fits. Throws APP_UNKNOWN.
   */
  pick(mchid: string | undefined, appid: string | undefined): { merchant: Merchant; appid: string } {
    const candidates = this.all
      .filter((merchant) => mchid === undefined || merchant.mchid === mchid)
      .flatMap((merchant) => merchant.appids.map((each) => ({ merchant, appid: each })))
      .filter((candidate) => appid === undefined || candidate.appid === appid)
    return onlyOf(candidates, 'Several merchants or apps fit; say which by mchid and appid')
  }

  /** The merchant of something that is no order; left out, the only one there is. Throws APP_UNKNOWN. */
  one(mchid: string | undefined): Merchant {
    const candidates = mchid === undefined ? this.all : this.all.filter((merchant) => merchant.mchid === mchid)
    return onlyOf(candidates, 'There are several merchants; say which by mchid')
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

/**
 * The api that was asked for, else v3 where its keys are configured, else v2. Throws PAY_REJECTED where its keys are
 * not.
 */
export function apiOf(merchant: Merchant, wanted: ApiName | undefined): ApiName {
  const api = wanted ?? (hasKeysOf(merchant, 'v3') ? 'v3' : 'v2')
  if (hasKeysOf(merchant, api)) return api
  throw new ServiceError('PAY_REJECTED', {
    message: `This merchant has no keys of api ${api}: configure them, or use the other api`
  })
}

/**
 * For what was made by `api`: the same one while its keys are configured, else the other. They share orders and refunds
 * (docs/wechat/pay.md 0).
 */
export function apiLike(merchant: Merchant, api: ApiName): ApiName {
  return hasKeysOf(merchant, api) ? api : apiOf(merchant, undefined)
}

/** The merchant in the name of one app alone: APIv2 names an app in every call. */
export const withApp = (merchant: Merchant, appid: string): Merchant => ({ ...merchant, appids: [appid] })

/** What it takes to ask WeChat about something of a merchant. */
export interface Asking {
  merchants: Merchants
  apis: PayApis
  /** Milliseconds since 1970. */
  now: () => number
}

/** What a caller may add to a number. */
export interface MerchantHint {
  mchid?: string
  api?: ApiName
}

/**
 * Which merchant an order or refund belongs to, and which api is asked about it: our record says it, else the caller.
 * `find` looks for our record of one merchant. Without `mchid` all merchants' records are looked at; where none has
 * one, `record` is undefined and the only merchant there is must be meant. Throws APP_UNKNOWN (no such merchant, or the
 * number is two merchants'), NOT_FOUND (not made here, and there are several merchants), PAY_REJECTED (the merchant has
 * no keys of that api).
 */
export async function resolveMerchant<T extends { mchid: string; api: ApiName }>(
  merchants: Merchants,
  { mchid, api }: MerchantHint,
  find: (mchid: string) => Promise<T | undefined>
): Promise<{ merchant: Merchant; api: ApiName; record: T | undefined }> {
  const candidates = mchid === undefined ? merchants.all : [merchants.one(mchid)]
  const found = await Promise.all(
    candidates.map(async (merchant) => ({ merchant, record: await find(merchant.mchid) }))
  )
  const recorded = found.filter(({ record }) => record !== undefined)
  const [only, another] = recorded.length > 0 ? recorded : found
  if (only === undefined) throw new ServiceError('APP_UNKNOWN')
  if (another !== undefined) throw ambiguous(recorded.length > 0)
  const { merchant, record } = only
  return { merchant, record, api: record === undefined ? apiOf(merchant, api) : apiLike(merchant, record.api) }
}

const ambiguous = (isRecorded: boolean): ServiceError =>
  isRecorded
    ? new ServiceError('APP_UNKNOWN', { message: 'Several merchants have this number; say which by ?mchid=' })
    : new ServiceError('NOT_FOUND', {
        message: 'This number was not used here; to have WeChat asked about it, name its merchant by ?mchid='
      })
