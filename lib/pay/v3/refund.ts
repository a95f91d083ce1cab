/** The facts of a refund in APIv3's JSON: of a callback's resource, or of an answer (pay.weixin.qq.com/doc/v3/merchant/4013071196). */
import type { RefundStatus } from '../api.ts'
import { FieldReader, type JsonObject } from './fields.ts'
import type { MalformedV3 } from './payment.ts'
import { REFUND_STATES } from './states.ts'

/** `mchid` stands in callbacks only. */
export interface RefundV3 extends Omit<RefundStatus, 'api' | 'mchid'> {
  raw: JsonObject
}

export type RefundFieldsV3 = { status: 'refund'; refund: RefundV3 } | MalformedV3

/** The same thing has two names: answers say `status`, callbacks say `refund_status`. */
export type RefundStateField = 'status' | 'refund_status'

export function readRefundV3(raw: JsonObject, stateField: RefundStateField): RefundFieldsV3 {
  const fields = new FieldReader(raw)
  const state = fields.oneOf(stateField, REFUND_STATES)
  const refund: RefundV3 = {
    outTradeNo: fields.text('out_trade_no'),
    transactionId: fields.id('transaction_id'),
    outRefundNo: fields.text('out_refund_no'),
    refundId: fields.id('refund_id'),
    state,
    amount: { total: fields.fen('amount.total'), refund: fields.fen('amount.refund') },
    ...(state === 'SUCCESS' && fields.has('success_time') && { successTime: fields.time('success_time') }),
    raw
  }
  const fault = fields.fault ?? (refund.amount.refund > refund.amount.total ? 'amount.refund' : undefined)
  return fault === undefined ? { status: 'refund', refund } : { status: 'malformed', reason: fault }
}
