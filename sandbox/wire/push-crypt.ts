/** The cryptography of message push (消息推送) on WeChat's side: SHA-1 signature, AES-256-CBC padded to 32 bytes. */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'

const BLOCK_BYTES = 32
const RANDOM_BYTES = 16

export interface PushKeys {
  /** EncodingAESKey, 43 characters. */
  aesKey: string
  /** Stands behind the message. */
  appid: string
}

/** Lower-case hex. The parts are sorted by their bytes: Token, timestamp, nonce and, if there is one, Encrypt. */
export function pushSignature(...parts: string[]): string {
  const sorted = parts.map((part) => Buffer.from(part)).sort(Buffer.compare)
  return createHash('sha1').update(Buffer.concat(sorted)).digest('hex')
}

/**
 * 16 random bytes, length in bytes, message, appid, as base64. `random` reproduces vectors. Throws RangeError on a key
 * of another size.
 */
export function encryptPush(message: string, { aesKey, appid }: PushKeys, random = randomBytes(RANDOM_BYTES)): string {
  const text = Buffer.from(message, 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  const content = Buffer.concat([random, length, text, Buffer.from(appid)])
  const missing = BLOCK_BYTES - (content.length % BLOCK_BYTES)
  const [key, iv] = keyOf(aesKey)
  const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
  return Buffer.concat([
    cipher.update(content),
    cipher.update(Buffer.alloc(missing, missing)),
    cipher.final()
  ]).toString('base64')
}

/** What a reply says and whose it is; undefined where padding or length do not fit. */
export function decryptPush(encrypted: string, aesKey: string): { message: string; appid: string } | undefined {
  const bytes = Buffer.from(encrypted, 'base64')
  if (bytes.length === 0 || bytes.length % BLOCK_BYTES !== 0) return undefined
  const [key, iv] = keyOf(aesKey)
  const decipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
  const padded = Buffer.concat([decipher.update(bytes), decipher.final()])
  const padding = padded.readUInt8(padded.length - 1)
  const end = padded.length - padding
  if (padding < 1 || padding > BLOCK_BYTES || padded.subarray(end).some((byte) => byte !== padding)) return undefined
  const start = RANDOM_BYTES + 4
  if (end < start) return undefined
  const stop = start + padded.readUInt32BE(RANDOM_BYTES)
  if (stop > end) return undefined
  return { message: padded.toString('utf8', start, stop), appid: padded.toString('utf8', stop, end) }
}

/** 43 characters are 32 bytes and two bits that nobody looks at; the first 16 bytes are the iv too. */
function keyOf(aesKey: string): [key: Buffer, iv: Buffer] {
  const key = Buffer.from(`${aesKey}=`, 'base64')
  if (aesKey.length !== 43 || key.length !== 32) throw new RangeError('an EncodingAESKey has 43 characters of base64')
  return [key, key.subarray(0, 16)]
}
