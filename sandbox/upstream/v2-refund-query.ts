/** POST /pay/refundquery (v2): one refund, or those of an order, ten at a time. */
import type { Refund, RefundState } from '../state/refunds.ts'
import { beijingText } from '../wire/time.ts'
import type { World } from '../world.ts'
import { BusinessRefused, type Message, payV2 } from './pay-v2.ts'
import { checkIdentities, optional, orderOf } from './v2-fields.ts'

const PAGE = 10

const STATUSES: Record<RefundState, string> = {
  SUCCESS: 'SUCCESS',
  CLOSED: 'REFUNDCLOSE',
  PROCESSING: 'PROCESSING',
  ABNORMAL: 'CHANGE'
}

/** refund_id > out_refund_no > transaction_id > out_trade_no. Throws BusinessRefused. */
function wanted(world: World, message: Message): Refund[] {
  const { mchid } = message.merchant
  const refundId = optional(message, 'refund_id')
  const outRefundNo = optional(message, 'out_refund_no')
  if (refundId !== undefined) return [world.refunds.findById(mchid, refundId)].filter((refund) => refund !== undefined)
  if (outRefundNo === undefined) return orderOf(world, message).refunds
  return [world.refunds.find(mchid, outRefundNo)].filter((refund) => refund !== undefined)
}

function numbered(refund: Refund, n: number): Record<string, string> {
  const part = String(refund.refundFen)
  const isDone = refund.state === 'SUCCESS' && refund.successAt !== undefined
  return {
    [`out_refund_no_${n}`]: refund.outRefundNo,
    [`refund_id_${n}`]: refund.refundId,
    [`refund_channel_${n}`]: 'ORIGINAL',
    [`refund_fee_${n}`]: part,
    [`settlement_refund_fee_${n}`]: part,
    [`refund_status_${n}`]: STATUSES[refund.state],
    [`refund_account_${n}`]: 'REFUND_SOURCE_UNSETTLED_FUNDS',
    [`refund_recv_accout_${n}`]: '支付用户零钱',
    ...(isDone ? { [`refund_success_time_${n}`]: beijingText(refund.successAt ?? 0) } : {})
  }
}

export const refundQuery = payV2({
  api: 'refundquery',
  url: '/pay/refundquery',
  work(world, message) {
    checkIdentities(world, message)
    const refunds = wanted(world, message)
    const [first] = refunds
    if (first === undefined) throw new BusinessRefused('REFUNDNOTEXIST', '退款单查询失败')
    const { order, transactionId } = first
    const shown = refunds.slice(Number(optional(message, 'offset') ?? 0)).slice(0, PAGE)
    const total = String(order.totalFen)
    return {
      transaction_id: transactionId,
      out_trade_no: order.outTradeNo,
      total_fee: total,
      settlement_total_fee: total,
      fee_type: order.currency,
      cash_fee: total,
      refund_fee: String(refunds.reduce((sum, { refundFen }) => sum + refundFen, 0)),
      total_refund_count: String(refunds.length),
      refund_count: String(shown.length),
      ...Object.assign({}, ...shown.map(numbered))
    }
  }
})
