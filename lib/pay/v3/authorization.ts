/** The Authorization header of an APIv3 request (pay.weixin.qq.com/doc/v3/merchant/4012365336). */
import type { CredentialsV3 } from './credentials.ts'
import { signV3 } from './signature.ts'

export interface RequestV3 {
  method: 'GET' | 'POST'
  /** With its query, percent-encoded, exactly as it is sent; the host is not signed. */
  path: string
  /** The very bytes that are sent; left out where none are. */
  body?: string | Buffer
  /** Unix seconds. WeChat refuses what is 5 minutes off. */
  timestamp: number
  /** Up to 32 letters or digits, new for every request. */
  nonce: string
}

/** Signs one request. Sign every repetition anew, except where the same one goes to the spare host at once. */
export function authorizationV3(
  { method, path, body = '', timestamp, nonce }: RequestV3,
  { mchid, certSerial, privateKey }: Pick<CredentialsV3, 'mchid' | 'certSerial' | 'privateKey'>
): string {
  const signature = signV3([method, path, String(timestamp), nonce, body], privateKey)
  return (
    `WECHATPAY2-SHA256-RSA2048 mchid="${mchid}",nonce_str="${nonce}",signature="${signature}",` +
    `timestamp="${timestamp}",serial_no="${certSerial}"`
  )
}
