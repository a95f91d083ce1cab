/** A payment as APIv3 tells it: the answer to a query, and what is inside a payment's notification. */
import type { Order, OrderState } from '../state/orders.ts'
import { rfc3339 } from '../wire/time.ts'

const DESCRIPTIONS: Record<OrderState, string> = {
  SUCCESS: '支付成功',
  REFUND: '转入退款',
  NOTPAY: '订单未支付',
  CLOSED: '订单已关闭'
}

export function transaction(order: Order, state: OrderState): Record<string, unknown> {
  const { appid, mchid, outTradeNo, attach, payment, totalFen: total, currency } = order
  const common = {
    mchid,
    appid,
    out_trade_no: outTradeNo,
    trade_state: state,
    trade_state_desc: DESCRIPTIONS[state],
    ...(attach === undefined ? {} : { attach })
  }
  if (payment === undefined) return { ...common, amount: { total, currency }, payer: {}, promotion_detail: [] }
  return {
    ...common,
    transaction_id: payment.transactionId,
    trade_type: 'JSAPI',
    bank_type: 'OTHERS',
    success_time: rfc3339(payment.paidAt),
    payer: { openid: order.openid },
    amount: { total, payer_total: total, currency, payer_currency: currency }
  }
}
