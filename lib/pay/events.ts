/** The events of payments and refunds: the same one whether WeChat tells of it, by either API, or is asked. */
import type { Event } from '../events/queue.ts'
import type { OrderStatus, RefundStatus } from './api.ts'
import type { RefundState } from './v3/states.ts'

/** A payment with everything that its event says. */
export type Payment = Omit<OrderStatus, 'state'> &
  Required<Pick<OrderStatus, 'transactionId' | 'amount' | 'openid' | 'successTime'>>

/** A refund that came to something. */
export type Refund = Omit<RefundStatus, 'state'> & { state: EventfulState }
export type EventfulState = Exclude<RefundState, 'PROCESSING'>

/** Up to 32 digits today. It becomes part of names, so it must not hold what separates those. */
const WECHAT_ID = /^[\w-]{1,64}$/

/** Whether a transaction_id or refund_id can be part of an event's id. */
export const isWechatId = (text: string): boolean => WECHAT_ID.test(text)

/** The webhook-id of a payment. */
export const paymentEventId = (mchid: string, transactionId: string): string => `pay_${mchid}_${transactionId}`

/** The webhook-id of what became of a refund: each state is an event of its own, in v3's words. */
export const refundEventId = (mchid: string, refundId: string, state: EventfulState): string =>
  `refund_${mchid}_${refundId}_${state}`

/** `orderKnown`: the order was made here. */
export function paymentEvent(payment: Payment, orderKnown: boolean): Event {
  const { api, appid, mchid, openid, outTradeNo, transactionId, amount, successTime, attach, bankType, raw } = payment
  const optional = { ...(attach !== undefined && { attach }), ...(bankType !== undefined && { bankType }) }
  return {
    id: paymentEventId(mchid, transactionId),
    type: 'payment.succeeded',
    timestamp: successTime,
    data: {
      api,
      appid,
      mchid,
      openid,
      outTradeNo,
      transactionId,
      amount,
      successTime,
      ...optional,
      orderKnown,
      raw
    },
    essence: [appid, outTradeNo, amount.total, amount.currency].join(' ')
  }
}

const REFUND_TYPES: Readonly<Record<EventfulState, string>> = {
  SUCCESS: 'refund.succeeded',
  CLOSED: 'refund.closed',
  ABNORMAL: 'refund.abnormal'
}

/** `toldAt` (ISO 8601 UTC): when WeChat told it, where it does not say when it happened. */
export function refundEvent(refund: Refund, toldAt: string): Event {
  const { api, mchid, outTradeNo, transactionId, outRefundNo, refundId, state, amount, successTime, raw } = refund
  const { total, refund: given } = amount
  return {
    id: refundEventId(mchid, refundId, state),
    type: REFUND_TYPES[state],
    timestamp: successTime ?? toldAt,
    data: {
      api,
      mchid,
      outTradeNo,
      transactionId,
      outRefundNo,
      refundId,
      amount: { total, refund: given },
      ...(successTime !== undefined && { successTime }),
      raw
    },
    essence: [outTradeNo, outRefundNo, given, total].join(' ')
  }
}
