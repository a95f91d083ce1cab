/** Payment notices as WeChat Pay v2 sends them: 25 fields, each notice of a payment of its own, rightly signed. */
import { sign } from '../sandbox/wire/pay-sign.ts'
import { makeNonce, makeTransactionId } from '../sandbox/wire/random.ts'
import { beijingTime } from '../sandbox/wire/time.ts'
import { writeXml } from '../sandbox/wire/xml-writer.ts'

export interface Payee {
  appid: string
  mchid: string
  apiV2Key: string
}

export interface PaidOrder {
  outTradeNo: string
  openid: string
  totalFen: number
}

export function writeNotice({ appid, mchid, apiV2Key }: Payee, { outTradeNo, openid, totalFen }: PaidOrder): string {
  const now = Date.now()
  const couponFen = 100
  const fields = new Map([
    ['appid', appid],
    ['attach', 'shop=42&channel=miniprogram'],
    ['bank_type', 'OTHERS'],
    ['cash_fee', String(totalFen - couponFen)],
    ['cash_fee_type', 'CNY'],
    ['coupon_count', '1'],
    ['coupon_fee', String(couponFen)],
    ['coupon_fee_0', String(couponFen)],
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
    ['settlement_total_fee', String(totalFen - couponFen)],
    ['time_end', beijingTime(now)],
    ['total_fee', String(totalFen)],
    ['trade_type', 'JSAPI'],
    ['transaction_id', makeTransactionId(now)]
  ])
  return writeXml(fields.set('sign', sign(fields, apiV2Key, 'MD5')))
}
