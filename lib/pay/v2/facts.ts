/** Orders, payments and refunds in the fields of APIv2, in the words of the contract. */
import { fromBeijingDateTime, fromBeijingTime } from '../../util/beijing-time.ts'
import {
  isWechatId,
  ORDER_STATES,
  type OrderState,
  type OrderStatus,
  type Payment,
  type RefundState,
  type RefundStatus
} from '../model.ts'

export type Fields = ReadonlyMap<string, string>

/** Signed by WeChat, but this field is absent or not what it should be: for a person to look at, no forger's work. */
export interface MalformedV2 {
  status: 'malformed'
  reason: string
}

const REQUIRED_TEXT = ['appid', 'mch_id', 'openid', 'out_trade_no', 'transaction_id'] as const
const FEN = /^\d{1,10}$/
const ORDER_NUMBER = /^[\w|*-]{1,32}$/
const REFUND_NUMBER = /^[\w|*@-]{1,64}$/

const REFUND_STATE_BY_WORD: ReadonlyMap<string, RefundState> = new Map([
  ['SUCCESS', 'SUCCESS'],
  ['REFUNDCLOSE', 'CLOSED'],
  ['CHANGE', 'ABNORMAL'],
  ['PROCESSING', 'PROCESSING']
])

/** A trade_state. ACCEPT waits for its money, so it is not paid. undefined for a word that is none. */
export function orderStateOfV2(tradeState: string): OrderState | undefined {
  return tradeState === 'ACCEPT' ? 'NOTPAY' : ORDER_STATES.find((state) => state === tradeState)
}

/** A refund_status. undefined for a word that is none. */
export function refundStateOfV2(refundStatus: string): RefundState | undefined {
  return REFUND_STATE_BY_WORD.get(refundStatus)
}

/** An empty element is as good as none: WeChat does not sign it either. */
export const fieldOf = (fields: Fields, name: string): string => fields.get(name) ?? ''

/** The same of a field that may be absent. */
const optionalOf = (fields: Fields, name: string): string | undefined => fields.get(name) || undefined

/**
 * Every field as it came, but for `sign`. The signed string does not show where a value ends, and attach may be the
 * payer's text: who knows a sign can spell other fields that fit it, so it must not travel on with events and logs.
 */
export function rawOf(fields: Fields): Record<string, string> {
  const { sign: _sign, ...raw } = Object.fromEntries(fields)
  return raw
}

/** The payment in verified fields: those of a notice, or of an orderquery answer whose trade_state says "paid". */
export function readPaymentV2(fields: Fields): { status: 'payment'; payment: Payment } | MalformedV2 {
  const fault = findPaymentFault(fields)
  if (fault !== undefined) return { status: 'malformed', reason: fault }
  const successTime = fromBeijingTime(fieldOf(fields, 'time_end'))
  if (successTime === undefined) return { status: 'malformed', reason: 'time_end' }
  const amount = amountOf(fields) as Payment['amount']
  const transactionId = fieldOf(fields, 'transaction_id')
  const openid = fieldOf(fields, 'openid')
  return { status: 'payment', payment: { ...orderFactsOf(fields), transactionId, openid, amount, successTime } }
}

function findPaymentFault(fields: Fields): string | undefined {
  const missing = REQUIRED_TEXT.find((name) => fieldOf(fields, name) === '')
  if (missing !== undefined) return missing
  if (!FEN.test(fieldOf(fields, 'total_fee'))) return 'total_fee'
  const cashFee = fieldOf(fields, 'cash_fee')
  return cashFee === '' || FEN.test(cashFee) ? undefined : 'cash_fee'
}

/**
 * Reads a verified answer about `outTradeNo` (docs/wechat/pay.md A5). A paid order has to say everything about its
 * payment; of any other, WeChat promises no more than the number.
 */
export function readOrderV2(fields: Fields, outTradeNo: string): { status: 'order'; order: OrderStatus } | MalformedV2 {
  const state = orderStateOfV2(fieldOf(fields, 'trade_state'))
  if (state === undefined) return { status: 'malformed', reason: 'trade_state' }
  if (fieldOf(fields, 'out_trade_no') !== outTradeNo) return { status: 'malformed', reason: 'out_trade_no' }
  if (state === 'SUCCESS') {
    const payment = readPaymentV2(fields)
    if (payment.status === 'malformed') return payment
  }
  const amount = amountOf(fields)
  const successTime = fromBeijingTime(fieldOf(fields, 'time_end'))
  const order = {
    ...orderFactsOf(fields),
    state,
    amount,
    successTime,
    transactionId: optionalOf(fields, 'transaction_id'),
    openid: optionalOf(fields, 'openid')
  }
  return { status: 'order', order }
}

function orderFactsOf(fields: Fields) {
  return {
    api: 'v2' as const,
    appid: fieldOf(fields, 'appid'),
    mchid: fieldOf(fields, 'mch_id'),
    outTradeNo: fieldOf(fields, 'out_trade_no'),
    attach: optionalOf(fields, 'attach'),
    bankType: optionalOf(fields, 'bank_type'),
    raw: rawOf(fields)
  }
}

/** The order's amount; what the payer paid in cash can be less, by coupons. */
function amountOf(fields: Fields): OrderStatus['amount'] | undefined {
  const total = fieldOf(fields, 'total_fee')
  const cash = fieldOf(fields, 'cash_fee')
  if (!FEN.test(total)) return undefined
  const currency = fieldOf(fields, 'fee_type') || 'CNY'
  return { total: Number(total), payerTotal: FEN.test(cash) ? Number(cash) : undefined, currency }
}

/** What coupons leave of the amounts is not said here. */
export type RefundFactsV2 = Omit<RefundStatus, 'api' | 'mchid' | 'raw'>

/** Where the fields of the refund stand; those of its order have one name everywhere. */
export interface RefundNamesV2 {
  /** `_0` in the answer to a query, else nothing. */
  suffix: string
  /** undefined: nothing says how it stands, it was just accepted. */
  state?: string
  successTime?: string
}

/** Reads one refund: of an answer, of one of many in a query's answer, or of a notice. */
export function readRefundV2(
  fields: Fields,
  { suffix, state, successTime }: RefundNamesV2
): { status: 'refund'; refund: RefundFactsV2 } | MalformedV2 {
  const own = (name: string) => fieldOf(fields, `${name}${suffix}`)
  const known = refundStateOfV2(state === undefined ? 'PROCESSING' : own(state))
  const time = known === 'SUCCESS' && successTime !== undefined ? own(successTime) : ''
  const succeededAt = time === '' ? undefined : fromBeijingDateTime(time)
  const refund: RefundFactsV2 = {
    outTradeNo: fieldOf(fields, 'out_trade_no'),
    transactionId: fieldOf(fields, 'transaction_id'),
    outRefundNo: own('out_refund_no'),
    refundId: own('refund_id'),
    state: known ?? 'PROCESSING',
    amount: { total: Number(fieldOf(fields, 'total_fee')), refund: Number(own('refund_fee')) },
    successTime: succeededAt
  }
  const { outTradeNo, transactionId, outRefundNo, refundId, amount } = refund
  const rules: [field: string, isRight: boolean][] = [
    ['out_trade_no', ORDER_NUMBER.test(outTradeNo)],
    ['transaction_id', isWechatId(transactionId)],
    ['out_refund_no', REFUND_NUMBER.test(outRefundNo)],
    ['refund_id', isWechatId(refundId)],
    ['total_fee', FEN.test(fieldOf(fields, 'total_fee'))],
    ['refund_fee', FEN.test(own('refund_fee')) && amount.refund <= amount.total],
    ['refund_status', known !== undefined],
    ['success_time', time === '' || succeededAt !== undefined]
  ]
  const [fault] = rules.find(([, isRight]) => !isRight) ?? []
  return fault === undefined ? { status: 'refund', refund } : { status: 'malformed', reason: fault }
}
