/**
 * Open data: what WeChat encrypts under a user's session_key, and the signature over rawData
 * (docs/wechat/mini-program.md 2).
 */
import { createDecipheriv, createHash, createSecretKey, timingSafeEqual } from 'node:crypto'
import { decodeBase64 } from '../util/bytes.ts'
import { type JsonObject, readJsonObject } from '../util/json.ts'
import { type Watermark, watermarkOf } from './watermark.ts'

const BLOCK_BYTES = 16

export interface OpenData {
  watermark: Watermark
  /** WeChat's fields as they came, without the watermark. */
  data: JsonObject
}

/** As the page got it: both base64, however it was carried here. */
export interface Encrypted {
  encryptedData: string
  iv: string
}

export interface OpenedByKey<T> {
  value: T
  /** Of the key that opened it. */
  position: number
}

/**
 * AES-128-CBC with PKCS#7 under the first of `sessionKeys` whose plaintext `read` accepts; undefined for every failure.
 * The same work is done for each of them: all keys are tried, and all plaintexts are read, whatever their padding.
 * Otherwise the time of an answer would show which failure it was, and anybody could open data piece by piece with it.
 * CBC has no integrity: never take an identity from the plaintext.
 */
export function openWithKeys<T>(
  { encryptedData, iv }: Encrypted,
  sessionKeys: readonly Buffer[],
  read: (plaintext: Buffer) => T | undefined
): OpenedByKey<T> | undefined {
  const ciphertext = decodeBase64(encryptedData)
  const vector = decodeBase64(iv)
  if (ciphertext === undefined || ciphertext.length === 0 || ciphertext.length % BLOCK_BYTES !== 0) return undefined
  if (vector === undefined || vector.length !== BLOCK_BYTES) return undefined
  const tries = sessionKeys.map((key, position) => {
    const plaintext = decrypt(ciphertext, vector, key)
    const padding = paddingOf(plaintext)
    const value = read(plaintext.subarray(0, plaintext.length - padding))
    return padding > 0 && value !== undefined ? { value, position } : undefined
  })
  return tries.find((opened) => opened !== undefined)
}

/** With its padding. A key of another length opens nothing. */
function decrypt(ciphertext: Buffer, vector: Buffer, sessionKey: Buffer): Buffer {
  if (sessionKey.length !== BLOCK_BYTES) return Buffer.alloc(BLOCK_BYTES)
  const decipher = createDecipheriv('aes-128-cbc', createSecretKey(sessionKey), vector).setAutoPadding(false)
  return Buffer.concat([decipher.update(ciphertext), decipher.final()])
}

/**
 * How many bytes of PKCS#7 end `plaintext`; 0 where they are wrong. The whole last block is looked at, whatever it
 * holds.
 */
function paddingOf(plaintext: Buffer): number {
  const length = plaintext.readUInt8(plaintext.length - 1)
  let difference = 0
  for (let back = 1; back <= BLOCK_BYTES; back++) {
    const byte = plaintext.readUInt8(plaintext.length - back)
    difference |= back <= length ? byte ^ length : 0
  }
  return difference === 0 && length <= BLOCK_BYTES ? length : 0
}

/** The JSON of any open data, as WeChat writes it. */
export function readOpenData(plaintext: Buffer): OpenData | undefined {
  const { watermark: mark, ...data } = readJsonObject(plaintext) ?? {}
  const watermark = watermarkOf(mark)
  return watermark && { watermark, data }
}

/** Whether `signature` is hex(sha1(rawData + session_key)); the key goes in as its base64 text, not decoded. */
export function rawDataHolds(rawData: string, signature: string, sessionKey: Buffer): boolean {
  const expected = createHash('sha1').update(rawData).update(sessionKey.toString('base64')).digest()
  const given = Buffer.from(signature, 'hex')
  return given.length === expected.length && timingSafeEqual(given, expected)
}
