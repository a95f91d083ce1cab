/** The facts of a payment in APIv3's JSON: of a callback's resource, or of a queried order (pay.weixin.qq.com/doc/v3/merchant/4012791902). */
import { FieldReader, type JsonObject } from './fields.ts'

/** A payment WeChat vouches for. Not yet compared with our settings and our order: `judgePaymentV3` does that. */
export interface PaymentV3 {
  appid: string
  mchid: string
  openid: string
  outTradeNo: string
  transactionId: string
  /** The order's amount. What the payer paid can be less, by coupons: `payerFen`. */
  totalFen: number
  payerFen?: number
  currency: string
  /** ISO 8601, UTC. */
  successTime: string
  attach?: string
  bankType?: string
  /** Every field as it came. */
  raw: JsonObject
}

/** `reason` is the place of the first field that is absent or not what it should be, such as `amount.total`. */
export interface MalformedV3 {
  status: 'malformed'
  reason: string
}

export type PaymentFieldsV3 = { status: 'payment'; payment: PaymentV3 } | MalformedV3

/** Reads a payment whose trade_state says "paid": SUCCESS, or REFUND in a queried order. */
export function readPaymentV3(raw: JsonObject): PaymentFieldsV3 {
  const fields = new FieldReader(raw)
  const payment: PaymentV3 = {
    appid: fields.text('appid'),
    mchid: fields.text('mchid'),
    openid: fields.text('payer.openid'),
    outTradeNo: fields.text('out_trade_no'),
    transactionId: fields.id('transaction_id'),
    totalFen: fields.fen('amount.total'),
    ...(fields.has('amount.payer_total') && { payerFen: fields.fen('amount.payer_total') }),
    currency: readCurrency(fields),
    successTime: fields.time('success_time'),
    ...(fields.has('attach') && { attach: fields.text('attach') }),
    ...(fields.has('bank_type') && { bankType: fields.text('bank_type') }),
    raw
  }
  return fields.fault === undefined ? { status: 'payment', payment } : { status: 'malformed', reason: fields.fault }
}

/** WeChat's default is CNY, in requests too. */
export function readCurrency(fields: FieldReader): string {
  return fields.has('amount.currency') ? fields.text('amount.currency') : 'CNY'
}
