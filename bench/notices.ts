/**
 * Payment notices as WeChat Pay sends them, by both APIs. Each is about its own payment, has a coupon, and a right
 * signature.
 */
import type { KeyObject } from 'node:crypto'
import { sealResource } from '../sandbox/wire/aead.ts'
import { sign } from '../sandbox/wire/pay-sign.ts'
import { makeNonce, makeNoticeId, makeSealNonce } from '../sandbox/wire/random.ts'
import { beijingTime, rfc3339 } from '../sandbox/wire/time.ts'
import { SCHEME, signMessage } from '../sandbox/wire/v3-signature.ts'
import { writeXml } from '../sandbox/wire/xml-writer.ts'

export interface Payee {
  appid: string
  mchid: string
  apiV2Key: string
  apiV3Key: string
  /** What WeChat signs with in v3. */
  platform: { id: string; key: KeyObject }
}

export interface PaidOrder {
  outTradeNo: string
  transactionId: string
  openid: string
  totalFen: number
}

const COUPON_FEN = 100
const ATTACH = 'shop=42&channel=miniprogram'

/** The body: 25 fields. */
export function writeNotice({ appid, mchid, apiV2Key }: Payee, order: PaidOrder): string {
  const { outTradeNo, transactionId, openid, totalFen } = order
  const fields = new Map([
    ['appid', appid],
    ['attach', ATTACH],
    ['bank_type', 'OTHERS'],
    ['cash_fee', String(totalFen - COUPON_FEN)],
    ['cash_fee_type', 'CNY'],
    ['coupon_count', '1'],
    ['coupon_fee', String(COUPON_FEN)],
    ['coupon_fee_0', String(COUPON_FEN)],
    ['coupon_id_0', '18774536487'],
    ['coupon_type_0', 'NO_CASH'],
    ['device_info', 'WEB'],
    ['fee_type', 'CNY'],
    ['is_subscribe', 'N'],
    ['mch_id', mchid],
    ['nonce_str', makeNonce()],
    ['openid', openid],
    ['out_trade_no', outTradeNo],
    ['result_code', 'SUCCESS'],
    ['return_code', 'SUCCESS'],
    ['settlement_total_fee', String(totalFen - COUPON_FEN)],
    ['time_end', beijingTime(Date.now())],
    ['total_fee', String(totalFen)],
    ['trade_type', 'JSAPI'],
    ['transaction_id', transactionId]
  ])
  return writeXml(fields.set('sign', sign(fields, apiV2Key, 'MD5')))
}

/** Body and headers of v3. The signature alone takes the better part of a millisecond. */
export function writeNoticeV3(payee: Payee, order: PaidOrder): { json: string; headers: Record<string, string> } {
  const { apiV3Key, platform } = payee
  const now = Date.now()
  const plaintext = JSON.stringify(transactionOf(payee, order, now))
  const json = JSON.stringify({
    id: makeNoticeId(),
    create_time: rfc3339(now),
    resource_type: 'encrypt-resource',
    event_type: 'TRANSACTION.SUCCESS',
    summary: '支付成功',
    resource: {
      original_type: 'transaction',
      ...sealResource(apiV3Key, makeSealNonce(), 'transaction', plaintext)
    }
  })
  const timestamp = Math.floor(now / 1000)
  const nonce = makeNonce()
  const headers = {
    'Wechatpay-Timestamp': String(timestamp),
    'Wechatpay-Nonce': nonce,
    'Wechatpay-Signature': signMessage(platform.key, timestamp, nonce, json),
    'Wechatpay-Serial': platform.id,
    'Wechatpay-Signature-Type': SCHEME
  }
  return { json, headers }
}

function transactionOf({ appid, mchid }: Payee, order: PaidOrder, paidAt: number): object {
  const { outTradeNo, transactionId, openid, totalFen } = order
  const coupon = {
    coupon_id: '18774536487',
    name: '满减券',
    scope: 'GLOBAL',
    type: 'NOCASH',
    amount: COUPON_FEN,
    stock_id: '18774536',
    wechatpay_contribute: 0,
    merchant_contribute: COUPON_FEN,
    other_contribute: 0,
    currency: 'CNY'
  }
  return {
    mchid,
    appid,
    out_trade_no: outTradeNo,
    transaction_id: transactionId,
    trade_type: 'JSAPI',
    trade_state: 'SUCCESS',
    trade_state_desc: '支付成功',
    bank_type: 'OTHERS',
    attach: ATTACH,
    success_time: rfc3339(paidAt),
    payer: { openid },
    amount: { total: totalFen, payer_total: totalFen - COUPON_FEN, currency: 'CNY', payer_currency: 'CNY' },
    scene_info: { device_id: 'WEB' },
    promotion_detail: [coupon]
  }
}
