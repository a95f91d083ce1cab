/** Signature of WeChat Pay v2: sorted `name=value` pairs and the merchant's key, as MD5 or HMAC-SHA256. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

export type SignType = 'MD5' | 'HMAC-SHA256'

/** The absent type means MD5; undefined says that WeChat knows no such type. */
export function readSignType(text: string | undefined): SignType | undefined {
  if (text === undefined || text === '' || text === 'MD5') return 'MD5'
  return text === 'HMAC-SHA256' ? text : undefined
}

/** The text to sign: every non-empty field but `sign`, sorted by the bytes of its name. */
export function stringToSign(fields: ReadonlyMap<string, string>): string {
  return [...fields]
    .filter(([name, value]) => name !== 'sign' && value !== '')
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** Upper-case hex, 32 or 64 digits. */
export function sign(fields: ReadonlyMap<string, string>, key: string, type: SignType): string {
  const text = `${stringToSign(fields)}&key=${key}`
  const hash = type === 'MD5' ? createHash('md5') : createHmac('sha256', key)
  return hash.update(text, 'utf8').digest('hex').toUpperCase()
}

export function signatureHolds(fields: ReadonlyMap<string, string>, key: string, type: SignType): boolean {
  const expected = Buffer.from(sign(fields, key, type))
  const given = Buffer.from(fields.get('sign') ?? '')
  return given.length === expected.length && timingSafeEqual(given, expected)
}
