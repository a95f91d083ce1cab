/** Whether an authentic APIv3 fact fits our settings and our order: rows 16 to 18 of table E in pay.md. */
import { judgeIdentity, judgePayment } from '../v2/notice.ts'
import type { NotSuccessV3, RefundNoticeV3 } from './notice.ts'
import type { PaymentV3 } from './payment.ts'

/** The merchant whose address a callback came to, and our record of the order where there is one. */
export interface KnownV3 {
  mchid: string
  appids: readonly string[]
  order?: { totalFen: number; currency: string } | undefined
}

export type JudgementV3 = 'accept' | 'wrong-merchant' | 'wrong-appid' | 'amount-mismatch'

/** The order's amount and currency are compared, never what coupons left of them. */
export function judgePaymentV3(payment: PaymentV3, known: KnownV3): JudgementV3 {
  return judgePayment(payment, known)
}

/** A refund names no app and no currency; its `total` is the order's amount. */
export function judgeRefundV3(refund: RefundNoticeV3, { mchid, order }: KnownV3): JudgementV3 {
  if (refund.mchid !== mchid) return 'wrong-merchant'
  return order === undefined || order.totalFen === refund.amount.total ? 'accept' : 'amount-mismatch'
}

/** Ask this of a notice that is no event, too: one for somebody else means that our settings are wrong. */
export function judgeNotSuccessV3({ mchid, appid }: NotSuccessV3, known: KnownV3): JudgementV3 {
  if (appid !== undefined) return judgeIdentity({ mchid, appid }, known)
  return mchid === known.mchid ? 'accept' : 'wrong-merchant'
}
