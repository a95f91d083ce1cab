/** An order as APIv2 tells it when asked (pay.md A5), in the words of the contract. */
import type { OrderStatus } from '../api.ts'
import { type OrderState, orderStateOfV2 } from '../v3/states.ts'
import { fromBeijingTime } from './beijing-time.ts'
import { readPaymentFields } from './notice.ts'

/** `reason` is the field that is absent or not what it should be. */
export type OrderFieldsV2 = { status: 'order'; order: OrderStatus } | { status: 'malformed'; reason: string }

const FEN = /^\d{1,10}$/

/**
 * Reads a verified answer about `outTradeNo`. A paid order has to say everything about its payment; of any other, WeChat
 * promises no more than the number.
 */
export function readOrderV2(fields: ReadonlyMap<string, string>, outTradeNo: string): OrderFieldsV2 {
  const state = orderStateOfV2(read(fields, 'trade_state'))
  if (state === undefined) return { status: 'malformed', reason: 'trade_state' }
  if (read(fields, 'out_trade_no') !== outTradeNo) return { status: 'malformed', reason: 'out_trade_no' }
  if (state === 'SUCCESS') {
    const payment = readPaymentFields(fields)
    if (payment.status === 'malformed') return payment
  }
  return { status: 'order', order: orderOf(fields, outTradeNo, state) }
}

function orderOf(fields: ReadonlyMap<string, string>, outTradeNo: string, state: OrderState): OrderStatus {
  const { sign: _sign, ...raw } = Object.fromEntries(fields)
  const amount = amountOf(fields)
  const successTime = fromBeijingTime(read(fields, 'time_end'))
  return {
    api: 'v2',
    appid: read(fields, 'appid'),
    mchid: read(fields, 'mch_id'),
    outTradeNo,
    state,
    ...(amount && { amount }),
    ...(successTime && { successTime }),
    ...given('transactionId', read(fields, 'transaction_id')),
    ...given('openid', read(fields, 'openid')),
    ...given('attach', read(fields, 'attach')),
    ...given('bankType', read(fields, 'bank_type')),
    raw
  }
}

function amountOf(fields: ReadonlyMap<string, string>): OrderStatus['amount'] | undefined {
  const total = read(fields, 'total_fee')
  const cash = read(fields, 'cash_fee')
  if (!FEN.test(total)) return undefined
  const currency = read(fields, 'fee_type') || 'CNY'
  return { total: Number(total), ...(FEN.test(cash) && { payerTotal: Number(cash) }), currency }
}

const given = <K extends string>(name: K, value: string): { [name in K]?: string } =>
  (value === '' ? {} : { [name]: value }) as { [name in K]?: string }

/** An empty element is as good as none. */
const read = (fields: ReadonlyMap<string, string>, name: string): string => fields.get(name) ?? ''
