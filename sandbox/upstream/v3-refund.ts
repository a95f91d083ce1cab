/** Refund and refund query (v3). */
import { type Static, Type } from '@sinclair/typebox'
import { type Refund, type RefundRefusal, RefundRefused } from '../state/refunds.ts'
import { rfc3339 } from '../wire/time.ts'
import type { World } from '../world.ts'
import { payV3, type V3Message, V3Refused } from './pay-v3.ts'
import { checkBody, Fen, NotifyUrl, Text } from './v3-fields.ts'

const RefundBody = Type.Object({
  transaction_id: Type.Optional(Text(32)),
  out_trade_no: Type.Optional(Text(32)),
  out_refund_no: Text(64, { pattern: '^[0-9A-Za-z_|*@-]{1,64}$' }),
  reason: Type.Optional(Text(80)),
  notify_url: Type.Optional(NotifyUrl),
  funds_account: Type.Optional(Text(32)),
  amount: Type.Object({ refund: Fen, total: Fen, currency: Type.Literal('CNY') })
})
type RefundBody = Static<typeof RefundBody>

const CODES: Record<RefundRefusal, string> = {
  'no order': 'RESOURCE_NOT_EXISTS',
  'not paid': 'INVALID_REQUEST',
  'other total': 'INVALID_REQUEST',
  'other content': 'INVALID_REQUEST',
  'too much': 'INVALID_REQUEST',
  'too many': 'INVALID_REQUEST',
  overdue: 'INVALID_REQUEST'
}

function requestOf({ account }: V3Message, body: RefundBody) {
  const { transaction_id, out_trade_no, reason, notify_url } = body
  if (transaction_id === undefined && out_trade_no === undefined)
    throw new V3Refused('PARAM_ERROR', 'transaction_id和out_trade_no必须二选一')
  return {
    api: 'v3' as const,
    mchid: account.mchid,
    outRefundNo: body.out_refund_no,
    refundFen: body.amount.refund,
    totalFen: body.amount.total,
    ...(transaction_id && { transactionId: transaction_id }),
    ...(out_trade_no && { outTradeNo: out_trade_no }),
    ...(reason && { reason }),
    ...(notify_url && { notifyUrl: notify_url })
  }
}

function request(world: World, message: V3Message): Refund {
  const wanted = requestOf(message, checkBody(RefundBody, message.body))
  try {
    return world.refunds.request(wanted)
  } catch (error) {
    if (!(error instanceof RefundRefused)) throw error
    throw new V3Refused(CODES[error.refusal], error.message)
  }
}

function refundView({ order, refundFen, state, successAt, ...refund }: Refund): Record<string, unknown> {
  return {
    refund_id: refund.refundId,
    out_refund_no: refund.outRefundNo,
    transaction_id: refund.transactionId,
    out_trade_no: order.outTradeNo,
    channel: 'ORIGINAL',
    user_received_account: '支付用户零钱',
    ...(state === 'SUCCESS' && successAt !== undefined ? { success_time: rfc3339(successAt) } : {}),
    create_time: rfc3339(refund.createdAt),
    status: state,
    funds_account: 'UNSETTLED',
    amount: {
      total: order.totalFen,
      refund: refundFen,
      payer_total: order.totalFen,
      payer_refund: refundFen,
      settlement_refund: refundFen,
      settlement_total: order.totalFen,
      discount_refund: 0,
      currency: order.currency,
      from: []
    },
    promotion_detail: []
  }
}

/** Accepted: what becomes of it is for the act `refund`. */
export const v3Refund = payV3({
  api: 'v3_refund',
  url: '/v3/refund/domestic/refunds',
  method: 'POST',
  work: (world, message) => ({ json: refundView(request(world, message)) })
})

export const v3RefundQuery = payV3({
  api: 'v3_refund_query',
  url: '/v3/refund/domestic/refunds/:out_refund_no',
  method: 'GET',
  work({ refunds }, { account, params }) {
    const refund = refunds.find(account.mchid, params.out_refund_no ?? '')
    if (refund === undefined) throw new V3Refused('RESOURCE_NOT_EXISTS', '退款单不存在')
    return { json: refundView(refund) }
  }
})
