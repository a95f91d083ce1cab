/** What the page hands to wx.requestPayment for an APIv3 order (pay.weixin.qq.com/doc/v3/merchant/4012365341). */
import type { KeyObject } from 'node:crypto'
import { signV3 } from './signature.ts'

export interface PayParamsInputV3 {
  appid: string
  prepayId: string
  /** The merchant's, the same that signed the order. */
  privateKey: KeyObject
  /** Unix seconds. */
  timeStamp: string
  /** At most 32 characters. */
  nonceStr: string
}

export interface PayParamsV3 {
  timeStamp: string
  nonceStr: string
  package: string
  signType: 'RSA'
  paySign: string
}

/**
 * Signs the parameters of one payment. The appid is signed but not handed over; with signType it is the other way
 * round.
 */
export function payParamsV3({ appid, prepayId, privateKey, timeStamp, nonceStr }: PayParamsInputV3): PayParamsV3 {
  const prepay = `prepay_id=${prepayId}`
  const paySign = signV3([appid, timeStamp, nonceStr, prepay], privateKey)
  return { timeStamp, nonceStr, package: prepay, signType: 'RSA', paySign }
}
