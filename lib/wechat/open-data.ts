/** Open data: what WeChat encrypts under a user's session_key, and the signature over rawData (mini-program.md 2). */
import { isUtf8 } from 'node:buffer'
import { createDecipheriv, createHash, createSecretKey, timingSafeEqual } from 'node:crypto'

const BLOCK_BYTES = 16

export interface Watermark {
  appid: string
  /** Unix seconds: when the data was obtained. */
  timestamp: number
}

export interface OpenData {
  watermark: Watermark
  /** WeChat's fields as they came, without the watermark. */
  data: Record<string, unknown>
}

/**
 * Decodes base64 that has to be whole: standard alphabet, padded, spaces that form decoding made of `+` repaired.
 * undefined where it is not, since Node skips what it does not know.
 */
export function decodeBase64(text: string): Buffer | undefined {
  const repaired = text.replaceAll(' ', '+')
  const bytes = Buffer.from(repaired, 'base64')
  return bytes.toString('base64') === repaired ? bytes : undefined
}

/**
 * AES-128-CBC with PKCS#7, then JSON with a watermark. undefined for every way in which that can fail, and the same for
 * all, so that nobody learns which. CBC has no integrity: never take an identity from what comes out.
 */
export function decryptOpenData(encryptedData: string, iv: string, sessionKey: Buffer): OpenData | undefined {
  const ciphertext = decodeBase64(encryptedData)
  const vector = decodeBase64(iv)
  if (ciphertext === undefined || ciphertext.length === 0 || ciphertext.length % BLOCK_BYTES !== 0) return undefined
  if (vector === undefined || vector.length !== BLOCK_BYTES || sessionKey.length !== BLOCK_BYTES) return undefined
  try {
    const decipher = createDecipheriv('aes-128-cbc', createSecretKey(sessionKey), vector)
    const plaintext = Buffer.concat([decipher.update(ciphertext), decipher.final()])
    return isUtf8(plaintext) ? readOpenData(plaintext.toString()) : undefined
  } catch {
    return undefined
  }
}

function readOpenData(text: string): OpenData | undefined {
  const value: unknown = JSON.parse(text)
  if (!isRecord(value) || !isRecord(value.watermark)) return undefined
  const { watermark, ...data } = value
  const { appid, timestamp } = watermark
  return typeof appid === 'string' && typeof timestamp === 'number'
    ? { watermark: { appid, timestamp }, data }
    : undefined
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether `signature` is hex(sha1(rawData + session_key)); the key goes in as its base64 text, not decoded. */
export function rawDataHolds(rawData: string, signature: string, sessionKey: Buffer): boolean {
  const expected = createHash('sha1').update(rawData).update(sessionKey.toString('base64')).digest()
  const given = Buffer.from(signature, 'hex')
  return given.length === expected.length && timingSafeEqual(given, expected)
}
