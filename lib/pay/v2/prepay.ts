/**
 * Making an order by APIv2 (pay.weixin.qq.com/doc/v2/merchant/4011940985, docs/wechat/pay.md A3, A4): the request, its
 * answer, and what the phone needs to pay. No network here.
 */
import { toBeijingTime } from '../../util/beijing-time.ts'
import { makeNonce } from '../../util/bytes.ts'
import type { OrderRecord, PayParams, PrepayOutcome } from '../model.ts'
import { type BadV2, type ExpectedV2, type FailedV2, type RefusedV2, readAnswerV2 } from './answer.ts'
import { type CallV2, SIGN_TYPE } from './call.ts'
import { asServiceErrorV2, type FailureV2 } from './errors.ts'
import { buildRequestV2, type SigningV2 } from './request.ts'
import { type SignTypeV2, signV2 } from './sign.ts'

export interface UnifiedOrderV2 extends Omit<OrderRecord, 'api' | 'createdAt' | 'currency'> {
  /** Absent: CNY. */
  currency?: string
  /** At most 32 characters. */
  nonceStr: string
  /** The payer's address, v4 or v6. */
  clientIp: string
  /** https, without a query string. */
  notifyUrl: string
  /** ISO 8601. */
  timeStart?: string
}

export type UnifiedOrderAnswer = { status: 'ok'; prepayId: string } | RefusedV2 | FailedV2 | BadV2

/**
 * The signed body of `POST /pay/unifiedorder`. Throws RangeError on an amount that is not a positive integer, a time
 * without a zone, or text that `isWechatPayText` refuses.
 */
export function buildUnifiedOrder(order: UnifiedOrderV2, signing: SigningV2): string {
  if (!Number.isSafeInteger(order.totalFen) || order.totalFen < 1) {
    throw new RangeError(`totalFen must be a positive integer, got ${order.totalFen}`)
  }
  return buildRequestV2(fieldsOf(order), signing)
}

/** Reads its answer. A prepay_id lives two hours. */
export function readUnifiedOrderAnswer(body: Buffer, expected: ExpectedV2): UnifiedOrderAnswer {
  const answer = readAnswerV2(body, expected)
  if (answer.status !== 'ok') return answer
  const prepayId = answer.fields.get('prepay_id') ?? ''
  return prepayId === '' ? { status: 'bad', reason: 'incomplete' } : { status: 'ok', prepayId }
}

const fieldsOf = (order: UnifiedOrderV2) => ({
  appid: order.appid,
  mch_id: order.mchid,
  nonce_str: order.nonceStr,
  body: order.description,
  out_trade_no: order.outTradeNo,
  total_fee: String(order.totalFen),
  fee_type: order.currency,
  spbill_create_ip: order.clientIp,
  notify_url: order.notifyUrl,
  trade_type: 'JSAPI',
  openid: order.openid,
  attach: order.attach,
  time_start: order.timeStart && toBeijingTime(order.timeStart),
  /** It counts only in the first order of this number. */
  time_expire: order.timeExpire && toBeijingTime(order.timeExpire)
})

/** The field is required, but it is the merchant's backend that calls, and it does not say where its user is. */
const PAYER_IP = '127.0.0.1'

/**
 * Refused so, WeChat did not make the order of this call: it has none of the number, or one of other content. After
 * anything else, and a code not listed, it may have made it.
 */
const NOT_MADE: ReadonlySet<string> = new Set([
  ...['ORDERPAID', 'OUT_TRADE_NO_USED', 'INVALID_REQUEST', 'ORDERCLOSED', 'NOTENOUGH', 'NOAUTH', 'APPID_NOT_EXIST'],
  ...['MCHID_NOT_EXIST', 'APPID_MCHID_NOT_MATCH', 'SIGNERROR', 'LACK_PARAMS', 'PARAM_ERROR', 'XML_FORMAT_ERROR'],
  ...['REQUIRE_POST_METHOD', 'POST_DATA_EMPTY', 'NOT_UTF8']
])

/** The call that makes `order`; WeChat will notify `notifyUrl` of what becomes of it. */
export function unifiedOrderCall(order: OrderRecord, notifyUrl: string): CallV2<UnifiedOrderAnswer> {
  const { api: _api, createdAt: _createdAt, ...fields } = order
  return {
    path: '/pay/unifiedorder',
    appid: order.appid,
    build: (signing) => buildUnifiedOrder({ ...fields, nonceStr: makeNonce(), clientIp: PAYER_IP, notifyUrl }, signing),
    read: readUnifiedOrderAnswer
  }
}

/** After a repetition the first try may have made the order, whatever the second one says. */
export function refusedPrepay(answer: FailureV2, repeated: boolean): PrepayOutcome {
  const notMade = answer.status === 'failed' || (answer.status === 'refused' && NOT_MADE.has(answer.code))
  return { status: 'refused', error: asServiceErrorV2('unifiedorder', answer), mayExist: repeated || !notMade }
}

export function payParamsFor({ appid }: OrderRecord, prepayId: string, key: string, nowMs: number): PayParams {
  const timeStamp = String(Math.floor(nowMs / 1000))
  return payParamsV2({ appid, prepayId, key, signType: SIGN_TYPE, timeStamp, nonceStr: makeNonce() })
}

export interface PayParamsInputV2 {
  appid: string
  prepayId: string
  /** The APIv2 key. */
  key: string
  /** The one the unified order was signed with; the phone refuses another. */
  signType: SignTypeV2
  /** Unix seconds. */
  timeStamp: string
  /** At most 32 characters. */
  nonceStr: string
}

/**
 * What the page hands to wx.requestPayment (pay.weixin.qq.com/doc/v2/merchant/4011939566). The appid is signed too, but
 * the page does not hand it over: WeChat knows which app is running.
 */
export function payParamsV2({ appid, prepayId, key, signType, timeStamp, nonceStr }: PayParamsInputV2): PayParams {
  const params = { timeStamp, nonceStr, package: `prepay_id=${prepayId}`, signType }
  const paySign = signV2(Object.entries({ appId: appid, ...params }), key, signType)
  return { ...params, paySign }
}
