/** What WeChat says, in a callback or an answer, is believed where it matches our settings and our record. */
import { ServiceError } from '../errors.ts'
import type { OrderRecord, OrderStatus, RefundRequest, RefundStatus, Said } from './model.ts'

export type Mismatch = 'wrong-merchant' | 'wrong-appid' | 'amount-mismatch'

/** The merchant whose address it came to, or who asked, and our record of the order where there is one. */
export interface Known {
  mchid: string
  appids: readonly string[]
  order?: Pick<OrderRecord, 'totalFen' | 'currency'> | undefined
}

/** undefined: it matches. */
export function mismatchOf({ mchid, appid, total, currency }: Said, known: Known): Mismatch | undefined {
  const { order } = known
  if (mchid !== known.mchid) return 'wrong-merchant'
  if (appid !== undefined && !known.appids.includes(appid)) return 'wrong-appid'
  if (order === undefined) return undefined
  const isOfOrder = (total ?? order.totalFen) === order.totalFen && (currency ?? order.currency) === order.currency
  return isOfOrder ? undefined : 'amount-mismatch'
}

/** `appids`: those of the merchant. */
export function mismatchOfOrder(
  order: OrderRecord,
  { appid, mchid, amount }: OrderStatus,
  appids: readonly string[]
): Mismatch | undefined {
  return mismatchOf({ appid, mchid, ...amount }, { mchid: order.mchid, appids, order })
}

export function mismatchOfRefund(
  { amount, total }: Pick<RefundRequest, 'amount' | 'total'>,
  { amount: found }: RefundStatus
): Mismatch | undefined {
  return found.refund === amount && found.total === total ? undefined : 'amount-mismatch'
}

/** For a caller who asked; the operator finds the reason in the log. */
export function mismatchError(what: 'order' | 'refund', reason: Mismatch): ServiceError {
  return new ServiceError('WECHAT_BAD_RESPONSE', {
    message:
      `What WeChat answers about this ${what} contradicts our record of it, so it is not believed; ` +
      'its operator finds the reason in the log',
    detail: `the answer about the ${what} contradicts our record: ${reason}`
  })
}

/** Whether both are the same refund of the same payment. */
export function isSameRefund(one: RefundStatus, other: RefundStatus): boolean {
  return (
    one.refundId === other.refundId &&
    one.outTradeNo === other.outTradeNo &&
    one.transactionId === other.transactionId &&
    one.amount.total === other.amount.total &&
    one.amount.refund === other.amount.refund
  )
}
