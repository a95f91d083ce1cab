/**
 * Which merchant an order or refund belongs to, and which api is asked about it: our record says it, else the caller.
 */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings/model.ts'
import { apiLike, apiOf, type Merchants } from './merchants.ts'
import type { ApiName } from './model.ts'

/** What a caller may add to a number. */
export interface MerchantHint {
  mchid?: string
  api?: ApiName
}

export interface ResolvedMerchant<T> {
  merchant: Merchant
  api: ApiName
  /** undefined: not made here. */
  record: T | undefined
}

/**
 * `find` looks for our record of one merchant. Without `mchid` all merchants' records are looked at; where none has
 * one, the only merchant there is must be meant. Throws APP_UNKNOWN (no such merchant, or the number is two
 * merchants'), NOT_FOUND (not made here, and there are several merchants), PAY_REJECTED (the merchant has no keys of
 * that api).
 */
export async function resolveMerchant<T extends { mchid: string; api: ApiName }>(
  merchants: Merchants,
  { mchid, api }: MerchantHint,
  find: (mchid: string) => Promise<T | undefined>
): Promise<ResolvedMerchant<T>> {
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
