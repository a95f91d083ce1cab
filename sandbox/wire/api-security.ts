/** The formats of the API security mode: AES256_GCM around the JSON, and RSAwithSHA256 (PSS) over what is sent. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  type KeyObject,
  randomBytes,
  sign as rsaSign,
  verify as rsaVerify
} from 'node:crypto'
import { isObject } from './json.ts'

const CIPHER = 'aes-256-gcm'
const TAG_BYTES = 16
const IV_BYTES = 12
const SALT_BYTES = 32

/** What a message belongs to. Ciphertext and signature are both bound to it. */
export interface Binding {
  /** At api.weixin.qq.com wherever the server really is, with scheme, without query. */
  urlpath: string
  appid: string
  /** Seconds. */
  timestamp: number
}

export interface Sealed {
  iv: string
  data: string
  authtag: string
}

export function urlpathOf(path: string): string {
  return `https://api.weixin.qq.com${path}`
}

/** `symSerial` is the id of the symmetric key. */
export function additionalData({ urlpath, appid, timestamp }: Binding, symSerial: string): string {
  return [urlpath, appid, timestamp, symSerial].join('|')
}

/** `iv` is for reproducing vectors; else it is random. */
export function seal(key: Buffer, additional: string, plaintext: string, iv: Buffer = randomBytes(IV_BYTES)): Sealed {
  const cipher = createCipheriv(CIPHER, key, iv).setAAD(Buffer.from(additional))
  const data = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()])
  return { iv: iv.toString('base64'), data: data.toString('base64'), authtag: cipher.getAuthTag().toString('base64') }
}

/**
 * The plaintext. Undefined if it is not `{iv, data, authtag}` in base64 of the right lengths, or not encrypted with
 * this key and additional data.
 */
export function open(key: Buffer, additional: string, sealed: unknown): string | undefined {
  if (!isObject(sealed)) return undefined
  const [iv, data, tag] = [bytesOf(sealed.iv), bytesOf(sealed.data), bytesOf(sealed.authtag)]
  if (iv?.length !== IV_BYTES || tag?.length !== TAG_BYTES || data === undefined) return undefined
  const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES })
  decipher.setAAD(Buffer.from(additional)).setAuthTag(tag)
  try {
    return Buffer.concat([decipher.update(data), decipher.final()]).toString('utf8')
  } catch {
    return undefined
  }
}

/** Standard base64 with its padding, and nothing beside it. */
function bytesOf(text: unknown): Buffer | undefined {
  if (typeof text !== 'string') return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/** Four lines, none at the end; no number of a key among them. `body` is the bytes as sent. */
function signedBytes({ urlpath, appid, timestamp }: Binding, body: Buffer | string): Buffer {
  return Buffer.concat([Buffer.from(`${urlpath}\n${appid}\n${timestamp}\n`), Buffer.from(body)])
}

/** Base64. PSS is random: the same message gets another signature each time. */
export function sign(privateKey: KeyObject, binding: Binding, body: Buffer | string): string {
  const key = { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: SALT_BYTES }
  return rsaSign('sha256', signedBytes(binding, body), key).toString('base64')
}

export function signatureHolds(
  publicKey: KeyObject,
  binding: Binding,
  body: Buffer | string,
  signature: string
): boolean {
  const key = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: SALT_BYTES }
  return rsaVerify('sha256', signedBytes(binding, body), key, Buffer.from(signature, 'base64'))
}
