/** Refunds in the JSON of APIv3 (pay.weixin.qq.com/doc/v3/merchant/4013071196), and the callback about one. */
import { type PayNotice, REFUND_STATES, type RefundStatus, refundEvent } from '../../model.ts'
import { type EnvelopeV3, FieldReader, type JsonFields, type MalformedV3, type NoticeKindV3 } from '../fields.ts'

export const refundNotices: NoticeKindV3 = {
  eventTypes: ['REFUND.SUCCESS', 'REFUND.CLOSED', 'REFUND.ABNORMAL'],
  read: readNotice
}

/** A state that contradicts the event type is a fault; only PROCESSING may come with any, and says nothing new. */
function readNotice(raw: JsonFields, { eventType, createTime }: EnvelopeV3): PayNotice {
  const fields = new FieldReader(raw)
  const mchid = fields.text('mchid')
  if (fields.fault !== undefined) return { status: 'malformed', reason: fields.fault }
  const read = readRefundV3(raw, 'refund_status')
  if (read.status === 'malformed') return read
  const { state, outTradeNo, amount } = read.refund
  if (state === 'PROCESSING') return { status: 'not-success', said: { mchid } }
  if (eventType !== `REFUND.${state}`) return { status: 'malformed', reason: 'refund_status' }
  const refund = { ...read.refund, api: 'v3' as const, mchid, state }
  // It names no app and no currency.
  const said = { mchid, total: amount.total }
  return { status: 'event', said, outTradeNo, event: (_orderKnown, now) => refundEvent(refund, createTime ?? now) }
}

/** `mchid` stands in callbacks only. */
export type RefundFactsV3 = Omit<RefundStatus, 'api' | 'mchid'>

/** The same thing has two names: answers say `status`, callbacks say `refund_status`. */
export function readRefundV3(
  raw: JsonFields,
  stateField: 'status' | 'refund_status'
): { status: 'refund'; refund: RefundFactsV3 } | MalformedV3 {
  const fields = new FieldReader(raw)
  const state = fields.oneOf(stateField, REFUND_STATES)
  const refund: RefundFactsV3 = {
    outTradeNo: fields.text('out_trade_no'),
    transactionId: fields.id('transaction_id'),
    outRefundNo: fields.text('out_refund_no'),
    refundId: fields.id('refund_id'),
    state,
    amount: { total: fields.fen('amount.total'), refund: fields.fen('amount.refund') },
    successTime: state === 'SUCCESS' ? fields.optionalTime('success_time') : undefined,
    raw
  }
  const fault = fields.fault ?? (refund.amount.refund > refund.amount.total ? 'amount.refund' : undefined)
  return fault === undefined ? { status: 'refund', refund } : { status: 'malformed', reason: fault }
}
