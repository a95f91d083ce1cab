/** POST /pay/orderquery and /pay/closeorder (v2). */
import type { Order, OrderState } from '../state/orders.ts'
import { beijingTime } from '../wire/time.ts'
import { BusinessRefused, payV2 } from './pay-v2.ts'
import { checkIdentities, orderOf, required } from './v2-fields.ts'

const DESCRIPTIONS: Record<OrderState, string> = {
  SUCCESS: '支付成功',
  REFUND: '订单发生过退款，退款详情请查询退款单',
  NOTPAY: '订单未支付',
  CLOSED: '订单已关闭'
}

/** What is not paid has few fields. */
function orderFields(order: Order, state: OrderState): Record<string, string> {
  const { payment, totalFen, currency } = order
  const common = {
    out_trade_no: order.outTradeNo,
    attach: order.attach ?? '',
    trade_state: state,
    trade_state_desc: DESCRIPTIONS[state]
  }
  if (payment === undefined) return common
  return {
    ...common,
    openid: order.openid,
    is_subscribe: 'N',
    trade_type: 'JSAPI',
    bank_type: 'OTHERS',
    total_fee: String(totalFen),
    fee_type: currency,
    cash_fee: String(totalFen),
    cash_fee_type: currency,
    transaction_id: payment.transactionId,
    time_end: beijingTime(payment.paidAt)
  }
}

export const orderQuery = payV2({
  api: 'orderquery',
  url: '/pay/orderquery',
  work(world, message) {
    checkIdentities(world, message)
    const order = orderOf(world, message)
    return orderFields(order, world.orders.state(order))
  }
})

/** WeChat asks merchants to wait five minutes after the order; the sandbox does not. */
export const closeOrder = payV2({
  api: 'closeorder',
  url: '/pay/closeorder',
  work(world, message) {
    checkIdentities(world, message)
    required(message, 'out_trade_no')
    const order = orderOf(world, message)
    if (order.payment !== undefined) throw new BusinessRefused('ORDERPAID', '订单已支付，不能发起关单')
    if (world.orders.state(order) === 'CLOSED') throw new BusinessRefused('ORDERCLOSED', '订单已关闭，请不要重复关单')
    order.closed = true
    return { result_msg: 'OK' }
  }
})
