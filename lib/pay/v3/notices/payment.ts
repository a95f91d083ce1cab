/** Payments in the JSON of APIv3 (pay.weixin.qq.com/doc/v3/merchant/4012791902), and the callback about one. */
import { type Payment, type PayNotice, paymentEvent } from '../../model.ts'
import { FieldReader, type JsonFields, type MalformedV3, type NoticeKindV3, readAmount } from '../fields.ts'

export const paymentNotices: NoticeKindV3 = { eventTypes: ['TRANSACTION.SUCCESS'], read: readNotice }

function readNotice(raw: JsonFields): PayNotice {
  const fields = new FieldReader(raw)
  const state = fields.text('trade_state')
  const mchid = fields.text('mchid')
  const appid = fields.text('appid')
  if (fields.fault !== undefined) return { status: 'malformed', reason: fields.fault }
  if (state !== 'SUCCESS') return { status: 'not-success', said: { mchid, appid } }
  const read = readPaymentV3(raw)
  if (read.status === 'malformed') return read
  const { payment } = read
  const { total, currency } = payment.amount
  const said = { mchid, appid, total, currency }
  const event = (orderKnown: boolean) => paymentEvent(payment, orderKnown)
  return { status: 'event', said, outTradeNo: payment.outTradeNo, event }
}

/** Reads a payment whose trade_state says "paid": SUCCESS, or REFUND in a queried order. */
export function readPaymentV3(raw: JsonFields): { status: 'payment'; payment: Payment } | MalformedV3 {
  const fields = new FieldReader(raw)
  const payment: Payment = {
    api: 'v3',
    appid: fields.text('appid'),
    mchid: fields.text('mchid'),
    openid: fields.text('payer.openid'),
    outTradeNo: fields.text('out_trade_no'),
    transactionId: fields.id('transaction_id'),
    amount: readAmount(fields),
    successTime: fields.time('success_time'),
    attach: fields.optionalText('attach'),
    bankType: fields.optionalText('bank_type'),
    raw
  }
  return fields.fault === undefined ? { status: 'payment', payment } : { status: 'malformed', reason: fields.fault }
}
