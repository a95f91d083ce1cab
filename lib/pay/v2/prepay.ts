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

export interface UnifiedOrderV2 {
  appid: string
  mchid: string
  /** At most 32 characters. */
  nonceStr: string
  /** WeChat's `body`: what the payer sees; at most 127 bytes to be safe. */
  description: string
  outTradeNo: string
  totalFen: number
  /** Absent: CNY. */
  currency?: string
  /** The payer's address, v4 or v6. */
  clientIp: string
  /** https, without a query string. */
  notifyUrl: string
  openid: string
  /** Comes back in query and notice. */
  attach?: string
  /** ISO 8601. */
  timeStart?: string
  /** ISO 8601; counts only in the first order of this number. */
  timeExpire?: string
  deviceInfo?: string
  /** JSON text. */
  detail?: string
  goodsTag?: string
  limitPay?: 'no_credit'
  receipt?: 'Y'
  profitSharing?: 'Y' | 'N'
  /** JSON text. */
  sceneInfo?: string
}

export type UnifiedOrderAnswer = { status: 'ok'; prepayId: string } | RefusedV2 | FailedV2 | BadV2

/** What a refused unified order asks for; nothing is said about an err_code that is not listed. */
export type UnifiedOrderAdvice =
  /** WeChat's fault: send it again, unchanged. */
  | 'repeat'
  /** The number has a life already, perhaps it was paid: query it before anything else. */
  | 'query'
  /** The number is used up and unpaid. */
  | 'new-number'
  /** Only the payer can help. */
  | 'payer'
  /** Our settings or the merchant platform's are wrong: appid, mchid, key or rights. */
  | 'configuration'
  /** The request is wrong: a fault of ours, or a value WeChat does not take. */
  | 'request'

export const UNIFIED_ORDER_ADVICE: ReadonlyMap<string, UnifiedOrderAdvice> = new Map([
  ['SYSTEMERROR', 'repeat'],
  ['ORDERPAID', 'query'],
  ['OUT_TRADE_NO_USED', 'query'],
  ['INVALID_REQUEST', 'query'],
  ['ORDERCLOSED', 'new-number'],
  ['NOTENOUGH', 'payer'],
  ['NOAUTH', 'configuration'],
  ['APPID_NOT_EXIST', 'configuration'],
  ['MCHID_NOT_EXIST', 'configuration'],
  ['APPID_MCHID_NOT_MATCH', 'configuration'],
  ['SIGNERROR', 'configuration'],
  ['LACK_PARAMS', 'request'],
  ['PARAM_ERROR', 'request'],
  ['XML_FORMAT_ERROR', 'request'],
  ['REQUIRE_POST_METHOD', 'request'],
  ['POST_DATA_EMPTY', 'request'],
  ['NOT_UTF8', 'request']
])

/**
 * The signed body of `POST /pay/unifiedorder`. Throws RangeError on an amount that is not a positive integer, a time
 * without a zone, or text that `isWechatPayText` refuses.
 */
export function buildUnifiedOrder(order: UnifiedOrderV2, signing: SigningV2): string {
  if (!Number.isSafeInteger(order.totalFen) || order.totalFen < 1) {
    throw new RangeError(`totalFen must be a positive integer, got ${order.totalFen}`)
  }
  return buildRequestV2({ ...nameRequiredFields(order), ...nameOptionalFields(order) }, signing)
}

/** Reads its answer. A prepay_id lives two hours. */
export function readUnifiedOrderAnswer(body: Buffer, expected: ExpectedV2): UnifiedOrderAnswer {
  const answer = readAnswerV2(body, expected)
  if (answer.status !== 'ok') return answer
  const prepayId = answer.fields.get('prepay_id') ?? ''
  return prepayId === '' ? { status: 'bad', reason: 'incomplete' } : { status: 'ok', prepayId }
}

function nameRequiredFields(order: UnifiedOrderV2) {
  return {
    appid: order.appid,
    mch_id: order.mchid,
    nonce_str: order.nonceStr,
    body: order.description,
    out_trade_no: order.outTradeNo,
    total_fee: String(order.totalFen),
    spbill_create_ip: order.clientIp,
    notify_url: order.notifyUrl,
    trade_type: 'JSAPI',
    openid: order.openid
  }
}

function nameOptionalFields(order: UnifiedOrderV2) {
  return {
    fee_type: order.currency,
    attach: order.attach,
    time_start: order.timeStart && toBeijingTime(order.timeStart),
    time_expire: order.timeExpire && toBeijingTime(order.timeExpire),
    device_info: order.deviceInfo,
    detail: order.detail,
    goods_tag: order.goodsTag,
    limit_pay: order.limitPay,
    receipt: order.receipt,
    profit_sharing: order.profitSharing,
    scene_info: order.sceneInfo
  }
}

/** The field is required, but it is the merchant's backend that calls, and it does not say where its user is. */
const PAYER_IP = '127.0.0.1'

/**
 * Refused so, WeChat did not make the order of this call: it has none of the number, or one of other content. After
 * anything else, and a code not listed, it may have made it.
 */
const NOT_MADE: ReadonlySet<UnifiedOrderAdvice | undefined> = new Set([
  'payer',
  'configuration',
  'request',
  'query',
  'new-number'
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
  const advice = answer.status === 'refused' ? UNIFIED_ORDER_ADVICE.get(answer.code) : undefined
  const notMade = answer.status === 'failed' || NOT_MADE.has(advice)
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
