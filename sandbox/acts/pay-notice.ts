/** Builds the v2 payment notice, with a right signature or spoilt on purpose. */
import type { Order, Payment } from '../state/orders.ts'
import { sign } from '../wire/pay-sign.ts'
import { beijingTime } from '../wire/time.ts'
import { writeXml } from '../wire/xml-writer.ts'
import type { Changes } from './notice-changes.ts'
import { changeFields, xmlFields } from './xml-fields.ts'

/** sign_type is there when the order had it. */
function plainFields(order: Order, { transactionId, paidAt, nonce }: Payment): Map<string, string> {
  return xmlFields({
    appid: order.appid,
    attach: order.attach,
    bank_type: 'OTHERS',
    cash_fee: order.totalFen,
    device_info: order.deviceInfo,
    fee_type: order.currency,
    is_subscribe: 'N',
    mch_id: order.mchid,
    nonce_str: nonce,
    openid: order.openid,
    out_trade_no: order.outTradeNo,
    result_code: 'SUCCESS',
    return_code: 'SUCCESS',
    sign_type: order.signType,
    time_end: beijingTime(paidAt),
    total_fee: order.totalFen,
    trade_type: 'JSAPI',
    transaction_id: transactionId
  })
}

/** `overrides` before, `tamper` after signing; sign_type stays as it is whatever `signWith` says. */
export function payNotice(order: Order, payment: Payment, key: string, changes: Changes): string {
  const fields = plainFields(order, payment)
  changeFields(fields, changes.overrides)
  fields.set('sign', sign(fields, key, changes.signWith ?? order.signType ?? 'MD5'))
  changeFields(fields, changes.tamper)
  return writeXml(fields, changes.cdata)
}
