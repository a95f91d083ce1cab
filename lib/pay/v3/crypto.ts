/**
 * What APIv3 signs, verifies and opens. The signature is RSA with SHA-256 (PKCS#1 v1.5) over lines that each end with a
 * line feed, the last one too; what WeChat signed (pay.weixin.qq.com/doc/v3/merchant/4013053420) is verified before
 * anything else of it is read. Callback resources and platform certificates are sealed with AEAD_AES_256_GCM
 * (pay.weixin.qq.com/doc/v3/merchant/4012071382).
 */
import { createDecipheriv, type KeyObject, sign, verify } from 'node:crypto'
import { decodeCanonicalBase64 } from '../../util/bytes.ts'
import type { PayParams } from '../model.ts'

/** What a merchant has for APIv3, as key objects made once: Node.js makes one of a plain key at every use. */
export interface CredentialsV3 {
  mchid: string
  /** Serial of the merchant's own certificate, 40 hex digits in upper case. */
  certSerial: string
  /** Signs requests and paySign. */
  privateKey: KeyObject
  /** Opens callback resources and platform certificates. */
  apiV3Key: KeyObject
  /** The WeChat Pay public key, where the merchant has one; send its id as `Wechatpay-Serial` with every request. */
  publicKey?: { id: string; key: KeyObject }
}

const LINE_FEED = Buffer.from('\n')

/** Signs these lines, base64. Costs about a millisecond of the processor. */
export function signV3(lines: readonly (string | Buffer)[], privateKey: KeyObject): string {
  return sign('sha256', joinLines(lines), privateKey).toString('base64')
}

/** The message that is signed and verified; a body stands in it byte for byte. */
export function joinLines(lines: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(lines.flatMap((line) => [typeof line === 'string' ? Buffer.from(line) : line, LINE_FEED]))
}

export interface RequestV3 {
  method: 'GET' | 'POST'
  /** With its query, percent-encoded, exactly as it is sent; the host is not signed. */
  path: string
  /** The very bytes that are sent; undefined where none are. */
  body?: string | Buffer | undefined
  /** Unix seconds. WeChat refuses what is 5 minutes off. */
  timestamp: number
  /** Up to 32 letters or digits, new for every request. */
  nonce: string
}

/**
 * The Authorization header of a request (pay.weixin.qq.com/doc/v3/merchant/4012365336). Sign every repetition anew,
 * except where the same one goes to the spare host at once.
 */
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

/**
 * What the page hands to wx.requestPayment (pay.weixin.qq.com/doc/v3/merchant/4012365341). The appid is signed but not
 * handed over; with signType it is the other way round.
 */
export function payParamsV3({ appid, prepayId, privateKey, timeStamp, nonceStr }: PayParamsInputV3): PayParams {
  const prepay = `prepay_id=${prepayId}`
  const paySign = signV3([appid, timeStamp, nonceStr, prepay], privateKey)
  return { timeStamp, nonceStr, package: prepay, signType: 'RSA', paySign }
}

/** Names in lower case, as Node.js gives them: a header sent twice is one text with a comma and a blank, or a list. */
export type HeadersV3 = Readonly<Record<string, string | readonly string[] | undefined>>

export interface SignedV3 {
  headers: HeadersV3
  /** As it came; empty for a 204. */
  body: Buffer
}

/** WeChat's keys by their exact serial: `PUB_KEY_ID_…`, or 40 hex digits of a platform certificate. A Map is one. */
export interface PlatformKeys {
  get(serial: string): KeyObject | undefined
}

/**
 * All keys that are in force side by side, by serial: for `verifyV3`. Certificates count from the moment they are
 * known, since WeChat lists them a day ahead, until they expire.
 */
export function platformKeysV3({
  publicKey,
  certificates,
  nowMs
}: {
  publicKey?: CredentialsV3['publicKey'] | undefined
  certificates: readonly { serial: string; notAfterMs: number; publicKey: KeyObject }[]
  nowMs: number
}): ReadonlyMap<string, KeyObject> {
  const valid = certificates.filter(({ notAfterMs }) => notAfterMs > nowMs)
  const keys = new Map(valid.map((certificate) => [certificate.serial, certificate.publicKey]))
  return publicKey === undefined ? keys : keys.set(publicKey.id, publicKey.key)
}

/** A word for metrics and the list of refused callbacks, never for the answer. */
export type RefusalV3 =
  /** A signature header is absent, empty, there twice, or holds more than printable ASCII. */
  | 'header'
  /** As before, and the body is XML: an APIv2 message at this address. */
  | 'wrong-door'
  /** No number, or 300 s or more from our clock. */
  | 'timestamp'
  /** Signed wrongly by WeChat on purpose, to see whether we look: to be counted apart, and nothing to worry about. */
  | 'probe'
  /** No key is held under this serial. Where `isCertificateSerial` says so, fetching the certificates may bring it. */
  | 'serial'
  | 'signature'

export type VerificationV3 =
  | { status: 'verified'; serial: string; skewSeconds: number }
  /** `serial` and `skewSeconds` (how far behind our clock the message is) are what it claims, where it claims any. */
  | { status: 'refused'; reason: RefusalV3; serial?: string; skewSeconds?: number }

const MAX_SKEW_MS = 300_000
const SIGNATURE_BYTES = 256
const PROBE = 'WECHATPAY/SIGNTEST/'
/** A line feed would let a text move over from the nonce into the body; blanks come from headers sent twice. */
const HEADER_VALUE = /^[\x21-\x7e]+$/

/**
 * Verifies the bytes of a message. The key is that of the serial and no other: none is tried after it. Answers that are
 * errors (from 400 up) and bill files are not signed.
 */
export function verifyV3({ headers, body }: SignedV3, keys: PlatformKeys, nowMs: number): VerificationV3 {
  const signed = readHeaders(headers)
  if (signed === undefined) return { status: 'refused', reason: isXmlUnsigned(headers, body) ? 'wrong-door' : 'header' }
  const { timestamp, nonce, serial, signature } = signed
  if (!/^\d{1,12}$/.test(timestamp)) return { status: 'refused', reason: 'timestamp', serial }
  const skewMs = nowMs - Number(timestamp) * 1000
  const claims = { serial, skewSeconds: Math.round(skewMs / 1000) }
  if (Math.abs(skewMs) >= MAX_SKEW_MS) return { status: 'refused', reason: 'timestamp', ...claims }
  if (signature.startsWith(PROBE)) return { status: 'refused', reason: 'probe', ...claims }
  const key = keys.get(serial)
  if (key === undefined) return { status: 'refused', reason: 'serial', ...claims }
  const isSigned = verifySignature([timestamp, nonce, body], signature, key)
  return isSigned ? { status: 'verified', ...claims } : { status: 'refused', reason: 'signature', ...claims }
}

/** Whether a serial may be that of a platform certificate that we do not know yet; public keys cannot be fetched. */
export function isCertificateSerial(serial: string): boolean {
  return /^[0-9A-F]{40}$/.test(serial)
}

/** Node.js skips whatever is no base64, so only the one canonical form of 256 bytes is taken for a signature. */
function verifySignature(lines: readonly (string | Buffer)[], signature: string, key: KeyObject): boolean {
  const bytes = decodeCanonicalBase64(signature)
  return bytes?.length === SIGNATURE_BYTES && verify('sha256', joinLines(lines), key, bytes)
}

/** The headers that a message is verified by, where they are: what has to be kept with it. */
export function signatureHeadersOf(headers: HeadersV3): Record<string, string> {
  const pairs = SIGNATURE_HEADERS.map((name) => [name, readHeader(headers, name)] as const)
  return Object.fromEntries(pairs.filter((pair): pair is [SignatureHeader, string] => pair[1] !== undefined))
}

const SIGNATURE_HEADERS = ['wechatpay-timestamp', 'wechatpay-nonce', 'wechatpay-serial', 'wechatpay-signature'] as const
type SignatureHeader = (typeof SIGNATURE_HEADERS)[number]

function readHeaders(headers: HeadersV3) {
  const [timestamp, nonce, serial, signature] = SIGNATURE_HEADERS.map((name) => readHeader(headers, name))
  return timestamp && nonce && serial && signature ? { timestamp, nonce, serial, signature } : undefined
}

function readHeader(headers: HeadersV3, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' && HEADER_VALUE.test(value) ? value : undefined
}

function isXmlUnsigned(headers: HeadersV3, body: Buffer): boolean {
  return headers['wechatpay-signature'] === undefined && /^\ufeff?\s*</.test(body.toString('utf8', 0, 64))
}

const TAG_BYTES = 16

/** As it stands in the JSON, whatever its fields turn out to be. */
export interface SealedV3 {
  readonly algorithm?: unknown
  /** base64 of ciphertext and tag. */
  readonly ciphertext?: unknown
  readonly nonce?: unknown
  /** Absent, null and empty are the same. */
  readonly associated_data?: unknown
}

/**
 * Opens what was sealed under the APIv3 key. undefined where the algorithm is another one, a field is no text, or the
 * tag, all 16 bytes of it, does not fit.
 */
export function openResource(sealed: SealedV3, apiV3Key: KeyObject): Buffer | undefined {
  const { algorithm, ciphertext, nonce } = sealed
  const data = sealed.associated_data ?? ''
  if (algorithm !== 'AEAD_AES_256_GCM' || typeof data !== 'string') return undefined
  if (typeof ciphertext !== 'string' || typeof nonce !== 'string') return undefined
  const bytes = decodeCanonicalBase64(ciphertext)
  if (bytes === undefined || bytes.length < TAG_BYTES) return undefined
  return decrypt(bytes, nonce, data, apiV3Key)
}

function decrypt(sealed: Buffer, nonce: string, data: string, key: KeyObject): Buffer | undefined {
  const tagStart = sealed.length - TAG_BYTES
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce), { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(data)).setAuthTag(sealed.subarray(tagStart))
    // Only final() looks at the tag.
    return Buffer.concat([decipher.update(sealed.subarray(0, tagStart)), decipher.final()])
  } catch {
    return undefined
  }
}
