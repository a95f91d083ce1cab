/** Whether WeChat, asked for it, says the same of a refund as a notice that nobody signed. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings.ts'
import type { PayApi, PayApis, RefundStatus } from '../api.ts'
import type { EventfulState, Refund } from '../events.ts'
import type { RefundNoticeV2 } from './refund-notice.ts'

export type Confirmation =
  /** What WeChat says now. A later state than that of the notice stands in its place: states only move forward. */
  | { status: 'confirmed'; refund: Refund }
  /** WeChat has no such refund, or another one under this number. */
  | { status: 'contradicted'; reason: 'unknown-refund' | 'other-content' }
  /** WeChat cannot be asked now, or does not yet say what its notice says. */
  | { status: 'open'; cause: string }

/** Asks by each api that this merchant has, until one knows the refund. Never throws. */
export async function confirmRefund(notice: RefundNoticeV2, merchant: Merchant, apis: PayApis): Promise<Confirmation> {
  let failure: Confirmation | undefined
  for (const api of apisOf(merchant, apis)) {
    try {
      return compare(notice, await api.queryRefund(merchant, notice.outRefundNo))
    } catch (error) {
      const isUnknown = error instanceof ServiceError && error.code === 'NOT_FOUND'
      // An api that cannot be asked outweighs one that knows nothing: it might.
      if (!isUnknown) failure = { status: 'open', cause: error instanceof ServiceError ? error.code : 'INTERNAL' }
    }
  }
  return failure ?? { status: 'contradicted', reason: 'unknown-refund' }
}

/** The notice is of APIv2, whoever asked for the refund; both apis know the refunds of both. */
const apisOf = ({ apiV2Key, apiV3Key }: Merchant, { v2, v3 }: PayApis): PayApi[] => [
  ...(apiV3Key === undefined ? [] : [v3]),
  ...(apiV2Key === undefined ? [] : [v2])
]

function compare(notice: RefundNoticeV2, found: RefundStatus): Confirmation {
  const isSame =
    found.refundId === notice.refundId &&
    found.outTradeNo === notice.outTradeNo &&
    found.transactionId === notice.transactionId &&
    found.amount.total === notice.amount.total &&
    found.amount.refund === notice.amount.refund
  if (!isSame) return { status: 'contradicted', reason: 'other-content' }
  if (!isEventful(found)) return { status: 'open', cause: 'PROCESSING' }
  return { status: 'confirmed', refund: found.state === notice.state ? refundOf(notice, found.state) : found }
}

const isEventful = (found: RefundStatus): found is Refund => found.state !== 'PROCESSING'

function refundOf({ appid: _, ...notice }: RefundNoticeV2, state: EventfulState): Refund {
  return { api: 'v2', ...notice, state }
}
