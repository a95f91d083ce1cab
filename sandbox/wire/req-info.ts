/** The sealed part of a v2 refund notice: AES-256-ECB under the lower-case hex MD5 of the APIv2 key. */
import { createCipheriv, createHash } from 'node:crypto'

/** Base64. */
export function sealReqInfo(apiV2Key: string, plaintext: string): string {
  const key = createHash('md5').update(apiV2Key).digest('hex')
  const cipher = createCipheriv('aes-256-ecb', Buffer.from(key), null)
  return cipher.update(plaintext, 'utf8', 'base64') + cipher.final('base64')
}
