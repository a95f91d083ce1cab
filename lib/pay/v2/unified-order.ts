/**
 * APIv2 unified order for mini-programs: the request and its answer (pay.weixin.qq.com/doc/v2/merchant/4011940985). No
 * network here.
 */

import { toBeijingTime } from '../../util/beijing-time.ts'
import { type BadV2, type ExpectedV2, type FailedV2, type RefusedV2, readAnswerV2 } from './answer.ts'
import { buildRequestV2, type SigningV2 } from './request.ts'

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
