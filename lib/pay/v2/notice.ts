/**
 * The APIv2 payment notice (pay.weixin.qq.com/doc/v2/merchant/4011937248): from raw bytes to a typed fact, and the
 * answers it gets.
 */
import { parseFlatXml, type XmlRefusal } from '../../xml/read.ts'
import { fromBeijingTime } from './beijing-time.ts'
import { verifyV2 } from './sign.ts'

/** WeChat compares these bodies as they are: nothing may stand around them. */
export const successReply =
  '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'
/** The same for every refusal, so that it tells a forger nothing. WeChat sends again. */
export const failReply =
  '<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[FAIL]]></return_msg></xml>'

const REQUIRED_TEXT = ['appid', 'mch_id', 'openid', 'out_trade_no', 'transaction_id'] as const
const FEN = /^\d{1,10}$/

/** A payment WeChat vouches for. Not yet compared with our settings and our order: `judgePayment` does that. */
export interface PaymentV2 {
  appid: string
  mchid: string
  openid: string
  outTradeNo: string
  transactionId: string
  /** The order's amount. What the payer paid in cash can be less, by coupons. */
  totalFen: number
  currency: string
  cashFen?: number
  /** ISO 8601, UTC. */
  successTime: string
  attach?: string
  bankType?: string
  /**
   * Every field as it came, but for `sign`. The signed string does not show where a value ends, and attach may be the
   * payer's text: who knows a sign can spell other fields that fit it, so it must not travel on with events and logs.
   */
  raw: Record<string, string>
}

/** An authentic notice of something that is not a payment; `code` and `message` are WeChat's, or empty. */
export interface NotSuccessV2 {
  appid: string
  mchid: string
  outTradeNo?: string
  code: string
  message: string
}

export type NoticeField =
  | 'appid'
  | 'mch_id'
  | 'openid'
  | 'out_trade_no'
  | 'transaction_id'
  | 'total_fee'
  | 'cash_fee'
  | 'time_end'

export type PaymentFields =
  | { status: 'payment'; payment: PaymentV2 }
  /** Signed by WeChat, but this field is absent or not what it should be: for a person to look at, no forger's work. */
  | { status: 'malformed'; authentic: true; reason: NoticeField }

export type PaymentNotice =
  | PaymentFields
  | { status: 'malformed'; authentic: false; reason: XmlRefusal }
  | { status: 'bad-signature' }
  | { status: 'not-success'; notice: NotSuccessV2 }

export interface NoticeOptions {
  apiV2Key: string
  maxBytes?: number
}

/**
 * Reads one notice. The signature comes before everything the message says, also before an unsigned return_code FAIL:
 * that is a bad signature.
 */
export function readPaymentNotice(body: Buffer, { apiV2Key, ...limits }: NoticeOptions): PaymentNotice {
  const xml = parseFlatXml(body, limits)
  if (xml.status === 'refused') return { status: 'malformed', authentic: false, reason: xml.reason }
  const { fields } = xml
  if (!verifyV2(fields, apiV2Key)) return { status: 'bad-signature' }
  const isSuccess = fields.get('return_code') === 'SUCCESS' && fields.get('result_code') === 'SUCCESS'
  return isSuccess ? readPaymentFields(fields) : { status: 'not-success', notice: readNotSuccess(fields) }
}

/** The payment in verified fields: those of a notice, or of an orderquery answer whose trade_state says "paid". */
export function readPaymentFields(fields: ReadonlyMap<string, string>): PaymentFields {
  const successTime = fromBeijingTime(read(fields, 'time_end'))
  const fault = findFault(fields)
  if (fault !== undefined) return { status: 'malformed', authentic: true, reason: fault }
  if (successTime === undefined) return { status: 'malformed', authentic: true, reason: 'time_end' }
  const { sign: _sign, ...raw } = Object.fromEntries(fields)
  const payment = {
    ...readIdentity(fields),
    openid: read(fields, 'openid'),
    outTradeNo: read(fields, 'out_trade_no'),
    transactionId: read(fields, 'transaction_id'),
    totalFen: Number(read(fields, 'total_fee')),
    currency: read(fields, 'fee_type') || 'CNY',
    successTime,
    ...readExtras(fields),
    raw
  }
  return { status: 'payment', payment }
}

export type IdentityVerdict = 'accept' | 'wrong-merchant' | 'wrong-appid'

/**
 * Whether a notice is for the merchant whose address it came to, and for one of its apps. Ask this of a not-success
 * notice too.
 */
export function judgeIdentity(
  notice: { appid: string; mchid: string },
  merchant: { mchid: string; appids: readonly string[] }
): IdentityVerdict {
  if (notice.mchid !== merchant.mchid) return 'wrong-merchant'
  return merchant.appids.includes(notice.appid) ? 'accept' : 'wrong-appid'
}

/** Whether a payment fits our settings and, where we have its order, the amount and currency of that. */
export function judgePayment(
  payment: Pick<PaymentV2, 'appid' | 'mchid' | 'totalFen' | 'currency'>,
  known: { mchid: string; appids: readonly string[]; order?: { totalFen: number; currency: string } | undefined }
): IdentityVerdict | 'amount-mismatch' {
  const identity = judgeIdentity(payment, known)
  if (identity !== 'accept' || known.order === undefined) return identity
  const fits = payment.totalFen === known.order.totalFen && payment.currency === known.order.currency
  return fits ? 'accept' : 'amount-mismatch'
}

function findFault(fields: ReadonlyMap<string, string>): NoticeField | undefined {
  const missing = REQUIRED_TEXT.find((name) => read(fields, name) === '')
  if (missing !== undefined) return missing
  if (!FEN.test(read(fields, 'total_fee'))) return 'total_fee'
  const cashFee = read(fields, 'cash_fee')
  return cashFee === '' || FEN.test(cashFee) ? undefined : 'cash_fee'
}

function readExtras(fields: ReadonlyMap<string, string>): Pick<PaymentV2, 'cashFen' | 'attach' | 'bankType'> {
  const cashFee = read(fields, 'cash_fee')
  const attach = read(fields, 'attach')
  const bankType = read(fields, 'bank_type')
  return {
    ...(cashFee !== '' && { cashFen: Number(cashFee) }),
    ...(attach !== '' && { attach }),
    ...(bankType !== '' && { bankType })
  }
}

function readNotSuccess(fields: ReadonlyMap<string, string>): NotSuccessV2 {
  const outTradeNo = read(fields, 'out_trade_no')
  return {
    ...readIdentity(fields),
    ...(outTradeNo !== '' && { outTradeNo }),
    code: read(fields, 'err_code'),
    message: read(fields, 'err_code_des') || read(fields, 'return_msg')
  }
}

function readIdentity(fields: ReadonlyMap<string, string>): { appid: string; mchid: string } {
  return { appid: read(fields, 'appid'), mchid: read(fields, 'mch_id') }
}

/** An empty element is as good as none: WeChat does not sign it either. */
function read(fields: ReadonlyMap<string, string>, name: string): string {
  return fields.get(name) ?? ''
}
