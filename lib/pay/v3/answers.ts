/** What APIv3 answers to calls that went well, as the contract names it. Read these only after `verifyV3`. */

import { ORDER_STATES, type OrderStatus } from '../model.ts'
import { FieldReader, type JsonFields, parseJsonObject, readAmount } from './fields.ts'
import { type RefundFactsV3, readRefundV3 } from './notices/refund.ts'

/** `reason` is the place of the fault, such as `amount.total`, or `body`. */
export interface BadAnswerV3 {
  status: 'bad'
  reason: string
}

export type AnswerV3<T> = { status: 'ok'; answer: T } | BadAnswerV3

export interface OrderV3 extends OrderStatus {
  api: 'v3'
  /** `readPaymentV3` makes the payment of it where state is SUCCESS or REFUND. */
  raw: JsonFields
}

export interface BillAnswerV3 {
  /** SHA-1 in hex, of the text before compression. */
  hashValue: string
  /** Path and query of download_url as they came, to be fetched within five minutes, signed as any request. */
  path: string
}

/** A prepay_id lives two hours. */
export function readPrepayV3(body: Buffer): AnswerV3<{ prepayId: string }> {
  return readAnswer(body, (fields) => ({ prepayId: fields.text('prepay_id') }))
}

/** A queried order; one of another merchant than `mchid` is refused as `mchid`. */
export function readOrderV3(body: Buffer, { mchid }: { mchid: string }): AnswerV3<OrderV3> {
  return readAnswer(body, (fields, raw) => ({
    api: 'v3',
    appid: fields.text('appid'),
    mchid: fields.oneOf('mchid', [mchid]),
    outTradeNo: fields.text('out_trade_no'),
    transactionId: fields.optionalId('transaction_id'),
    state: fields.oneOf('trade_state', ORDER_STATES),
    amount: fields.has('amount.total') ? readAmount(fields) : undefined,
    openid: fields.optionalText('payer.openid'),
    successTime: fields.optionalTime('success_time'),
    attach: fields.optionalText('attach'),
    bankType: fields.optionalText('bank_type'),
    raw
  }))
}

/** The answer to a refund, which only means that it was accepted, and to its query. */
export function readRefundAnswerV3(body: Buffer): AnswerV3<RefundFactsV3> {
  const raw = parseJsonObject(body)
  if (raw === undefined) return { status: 'bad', reason: 'body' }
  const read = readRefundV3(raw, 'status')
  return read.status === 'refund' ? { status: 'ok', answer: read.refund } : { status: 'bad', reason: read.reason }
}

/** The answer that names a bill file; the host of its address is left to our settings. */
export function readBillV3(body: Buffer): AnswerV3<BillAnswerV3> {
  return readAnswer(body, (fields) => {
    fields.oneOf('hash_type', ['SHA1'])
    const hashValue = fields.match('hash_value', /^([0-9A-Fa-f]{40})$/)
    return { hashValue, path: fields.match('download_url', /^https?:\/\/[^/?#\s]+(\/[\x21-\x7e]*)$/) }
  })
}

function readAnswer<T>(body: Buffer, read: (fields: FieldReader, raw: JsonFields) => T): AnswerV3<T> {
  const raw = parseJsonObject(body)
  if (raw === undefined) return { status: 'bad', reason: 'body' }
  const fields = new FieldReader(raw)
  const answer = read(fields, raw)
  return fields.fault === undefined ? { status: 'ok', answer } : { status: 'bad', reason: fields.fault }
}
