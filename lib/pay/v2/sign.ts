/**
 * The signature of WeChat Pay APIv2 (pay.weixin.qq.com/doc/v2/merchant/4011985891): MD5 or HMAC-SHA256 over the sorted
 * fields and the APIv2 key.
 */
import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto'

/** There is nothing else; a message without sign_type means MD5. */
export type SignTypeV2 = 'MD5' | 'HMAC-SHA256'

/** A Map, or `Object.entries()` of a record. No name may come twice. */
export type ParamsV2 = Iterable<readonly [name: string, value: string]>

/** Signs all fields but `sign` and empty ones. Upper-case hex: 32 digits for MD5, 64 for HMAC-SHA256. */
export function signV2(params: ParamsV2, key: string, algorithm: SignTypeV2): string {
  // The key ends the text for HMAC too, although it is also the key of the HMAC.
  const text = `${joinParams(params)}&key=${key}`
  const digest = algorithm === 'MD5' ? hash('md5', text) : hmac(key, text)
  return digest.toUpperCase()
}

/** A KeyObject, since Node.js takes ten times as long with a plain key. */
const hmac = (key: string, text: string): string =>
  createHmac('sha256', createSecretKey(key, 'utf8')).update(text).digest('hex')

/**
 * Whether WeChat signed these fields of a received message. Give it every element of the message: WeChat signs fields
 * it adds without notice.
 *
 * The length of `sign` says the algorithm, not sign_type: notices of HMAC-SHA256 orders were seen without sign_type,
 * and signed with MD5. Both need the same secret, so nothing is lost; a sign_type that names a third algorithm is still
 * refused.
 */
export function verifyV2(fields: ReadonlyMap<string, string>, key: string): boolean {
  const sign = fields.get('sign') ?? ''
  const algorithm = readAlgorithm(sign)
  if (algorithm === undefined || !isKnownSignType(fields.get('sign_type') ?? '')) return false
  if (key === '') return false
  return timingSafeEqual(Buffer.from(sign), Buffer.from(signV2(fields, key, algorithm)))
}

/** stringA of the documentation: values raw, names in byte order (`coupon_fee_10` before `coupon_fee_2`). */
function joinParams(params: ParamsV2): string {
  return [...params]
    .filter(([name, value]) => name !== 'sign' && value !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

// Only hex digits get through, so that the comparison always has two buffers of one length.
function readAlgorithm(sign: string): SignTypeV2 | undefined {
  if (/^[0-9A-F]{32}$/.test(sign)) return 'MD5'
  return /^[0-9A-F]{64}$/.test(sign) ? 'HMAC-SHA256' : undefined
}

function isKnownSignType(signType: string): boolean {
  return signType === '' || signType === 'MD5' || signType === 'HMAC-SHA256'
}
