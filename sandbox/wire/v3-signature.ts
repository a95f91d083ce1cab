/**
 * Signatures of WeChat Pay APIv3 in both directions: RSASSA-PKCS1-v1_5 with SHA-256 over lines that each end with a
 * line feed.
 */
import { type KeyObject, sign, verify } from 'node:crypto'

export const SCHEME = 'WECHATPAY2-SHA256-RSA2048'

export interface Authorization {
  mchid: string
  nonce_str: string
  signature: string
  timestamp: string
  serial_no: string
}

const NAMES = ['mchid', 'nonce_str', 'signature', 'timestamp', 'serial_no'] as const

/** The five fields in any order; undefined where one is missing, given twice, or the form is another. */
export function readAuthorization(header: string | undefined): Authorization | undefined {
  const [, list] = /^WECHATPAY2-SHA256-RSA2048 +(.*)$/.exec(header ?? '') ?? []
  if (list === undefined) return undefined
  const pairs = list.split(',').map((part) => /^ *(\w+)="([^"]*)"$/.exec(part))
  if (pairs.includes(null) || pairs.length !== NAMES.length) return undefined
  const fields = Object.fromEntries(pairs.map((pair) => [pair?.[1], pair?.[2]]))
  return NAMES.every((name) => fields[name]) ? (fields as unknown as Authorization) : undefined
}

export interface SignedRequest {
  method: string
  /** Path and query exactly as on the wire. */
  url: string
  body: Uint8Array
}

/** What the merchant signs. */
export function requestHolds(
  request: SignedRequest,
  { timestamp, nonce_str, signature }: Authorization,
  key: KeyObject
) {
  const head = `${request.method}\n${request.url}\n${timestamp}\n${nonce_str}\n`
  const message = Buffer.concat([Buffer.from(head), request.body, Buffer.from('\n')])
  const bytes = Buffer.from(signature, 'base64')
  return bytes.toString('base64') === signature && verify('sha256', message, key, bytes)
}

/** What WeChat signs, answers and callbacks alike. Base64. */
export function signMessage(key: KeyObject, timestamp: number, nonce: string, body: string | Uint8Array): string {
  const message = Buffer.concat([Buffer.from(`${timestamp}\n${nonce}\n`), Buffer.from(body), Buffer.from('\n')])
  return sign('sha256', message, key).toString('base64')
}
