/** What WeChat answers about an order or refund of ours is believed where it fits our record, by the rules of its callbacks. */
import { ServiceError } from '../errors.ts'
import type { OrderStatus, RefundStatus } from './api.ts'
import type { OrderRecord } from './orders.ts'
import type { RefundRecord } from './refund-records.ts'
import { judgePayment } from './v2/notice.ts'

export type Contradiction = 'wrong-merchant' | 'wrong-appid' | 'amount-mismatch'

/** `appids`: those of the merchant. Where WeChat tells no amount, there is none to compare. */
export function contradictsOrder(
  order: OrderRecord,
  { appid, mchid, amount }: OrderStatus,
  appids: readonly string[]
): Contradiction | undefined {
  const { total: totalFen, currency } = amount ?? { total: order.totalFen, currency: order.currency }
  const judged = judgePayment({ appid, mchid, totalFen, currency }, { mchid: order.mchid, appids, order })
  return judged === 'accept' ? undefined : judged
}

export function contradictsRefund(
  { amount, total }: RefundRecord,
  { amount: told }: RefundStatus
): Contradiction | undefined {
  return told.refund === amount && told.total === total ? undefined : 'amount-mismatch'
}

/** For a caller who asked; the operator finds the reason in the log. */
export function contradicted(what: 'order' | 'refund', reason: Contradiction): ServiceError {
  return new ServiceError('WECHAT_BAD_RESPONSE', {
    message: `What WeChat answers about this ${what} contradicts our record of it, so it is not believed; its operator finds the reason in the log`,
    detail: `the answer about the ${what} contradicts our record: ${reason}`
  })
}
