/**
 * How message push is signed, and how safe mode encrypts it: AES-256-CBC, padded to 32 bytes, the appid behind the
 * message (docs/wechat/mini-program.md 5.1 to 5.3).
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hash,
  type KeyObject,
  randomBytes,
  timingSafeEqual
} from 'node:crypto'

const BLOCK_BYTES = 32
const RANDOM_BYTES = 16
const HEAD_BYTES = RANDOM_BYTES + 4
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

export interface Decrypted {
  message: Buffer
  /** Whom it was encrypted for: compare it. */
  appid: string
}

/** Opens what was signed; undefined where anything does not fit. `aesKey` is the EncodingAESKey of 43 characters. */
export function decryptPush(encrypted: string, aesKey: string): Decrypted | undefined {
  const bytes = Buffer.from(encrypted, 'base64')
  const isWhole = bytes.length > 0 && bytes.length % BLOCK_BYTES === 0
  if (!isWhole || !BASE64.test(encrypted) || encrypted.length % 4 !== 0) return undefined
  const { key, iv } = keyOf(aesKey)
  // Node.js knows padding to 16 only.
  const decipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
  const content = unpad(Buffer.concat([decipher.update(bytes), decipher.final()]))
  if (content === undefined || content.length < HEAD_BYTES) return undefined
  const end = HEAD_BYTES + content.readUInt32BE(RANDOM_BYTES)
  if (end > content.length) return undefined
  return { message: content.subarray(HEAD_BYTES, end), appid: content.toString('utf8', end) }
}

/** Encrypts a reply for WeChat, as base64. `random`: 16 bytes, fixed by vectors only. */
export function encryptPush(
  message: string,
  { aesKey, appid, random = randomBytes(RANDOM_BYTES) }: { aesKey: string; appid: string; random?: Buffer }
): string {
  const text = Buffer.from(message)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  const { key, iv } = keyOf(aesKey)
  const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
  const content = pad(Buffer.concat([random, length, text, Buffer.from(appid)]))
  return Buffer.concat([cipher.update(content), cipher.final()]).toString('base64')
}

/** 43 characters carry 258 bits; the last two count for nothing, and need not be zero. */
function keyOf(aesKey: string): { key: KeyObject; iv: Buffer } {
  const bytes = Buffer.from(`${aesKey}=`, 'base64')
  // Node.js takes ten times as long to see what a Buffer is.
  return { key: createSecretKey(bytes), iv: bytes.subarray(0, 16) }
}

function pad(content: Buffer): Buffer {
  const size = BLOCK_BYTES - (content.length % BLOCK_BYTES)
  return Buffer.concat([content, Buffer.alloc(size, size)])
}

function unpad(padded: Buffer): Buffer | undefined {
  const size = padded.at(-1) ?? 0
  const padding = padded.subarray(-size)
  const isPadding = size >= 1 && size <= BLOCK_BYTES && padding.every((byte) => byte === size)
  return isPadding ? padded.subarray(0, -size) : undefined
}

const SIGNATURE = /^[0-9a-f]{40}$/

/**
 * SHA-1 over the sorted parts: 40 hex digits in lower case. `parts`: the Token and what it signs, all ASCII, in any
 * order.
 */
export function signPush(parts: readonly string[]): string {
  return hash('sha1', [...parts].sort().join(''))
}

/** Whether `given` is their signature; takes the same time wherever it differs. An absent one is a wrong one. */
export function verifyPush(parts: readonly string[], given: string | undefined): boolean {
  if (given === undefined || !SIGNATURE.test(given)) return false
  return timingSafeEqual(Buffer.from(signPush(parts)), Buffer.from(given))
}
