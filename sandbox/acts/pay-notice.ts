/** Builds the v2 payment notice, rightly signed or spoilt on purpose. */
import type { Order, Payment } from '../state/orders.ts'
import { type SignType, sign } from '../wire/pay-sign.ts'
import { beijingTime } from '../wire/time.ts'
import { writeXml } from '../wire/xml-writer.ts'

/** null takes a field away. */
export type FieldChanges = Record<string, string | number | null>

export interface Changes {
  /** Before signing: the notice stays authentic. */
  overrides: FieldChanges
  /** After signing: the signature no longer holds. */
  tamper: FieldChanges
  /** Instead of the order's algorithm; the field sign_type stays as it is. */
  signWith?: SignType
  cdata: boolean
}

function change(fields: Map<string, string>, changes: FieldChanges): void {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) fields.delete(name)
    else fields.set(name, String(value))
  }
}

/** sign_type is there when the order had it; an empty field would be legal too, but WeChat leaves it out. */
function plainFields(order: Order, { transactionId, paidAt, nonce }: Payment): Map<string, string> {
  const fields = new Map([
    ['appid', order.appid],
    ['attach', order.attach ?? ''],
    ['bank_type', 'OTHERS'],
    ['cash_fee', String(order.totalFen)],
    ['device_info', order.deviceInfo ?? ''],
    ['fee_type', order.currency],
    ['is_subscribe', 'N'],
    ['mch_id', order.mchid],
    ['nonce_str', nonce],
    ['openid', order.openid],
    ['out_trade_no', order.outTradeNo],
    ['result_code', 'SUCCESS'],
    ['return_code', 'SUCCESS'],
    ['sign_type', order.signType ?? ''],
    ['time_end', beijingTime(paidAt)],
    ['total_fee', String(order.totalFen)],
    ['trade_type', 'JSAPI'],
    ['transaction_id', transactionId]
  ])
  return new Map([...fields].filter(([, value]) => value !== ''))
}

export function payNotice(
  order: Order,
  payment: Payment,
  key: string,
  { overrides, tamper, signWith, cdata }: Changes
): string {
  const fields = plainFields(order, payment)
  change(fields, overrides)
  fields.set('sign', sign(fields, key, signWith ?? order.signType ?? 'MD5'))
  change(fields, tamper)
  return writeXml(fields, cdata)
}
