/** What the page hands to wx.requestPayment for an APIv2 order (pay.weixin.qq.com/doc/v2/merchant/4011939566). */
import { type SignTypeV2, signV2 } from './sign.ts'

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

export interface PayParamsV2 {
  timeStamp: string
  nonceStr: string
  package: string
  signType: SignTypeV2
  paySign: string
}

/**
 * Signs the parameters of one payment. The appid is signed too, but the page does not hand it over: WeChat knows which
 * app is running.
 */
export function payParamsV2({ appid, prepayId, key, signType, timeStamp, nonceStr }: PayParamsInputV2): PayParamsV2 {
  const params = { timeStamp, nonceStr, package: `prepay_id=${prepayId}`, signType }
  const paySign = signV2(Object.entries({ appId: appid, ...params }), key, signType)
  return { ...params, paySign }
}
