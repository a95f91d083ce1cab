/** What the WeChat client does to open data before it hands it to the page: encrypt it, and sign the raw text. */
import { createCipheriv, createHash, randomBytes } from 'node:crypto'

export interface Sealed {
  encryptedData: string
  iv: string
}

/** AES-128-CBC with PKCS#7 under the decoded session_key. `iv` is for reproducing vectors; else it is random. */
export function seal(sessionKey: string, plaintext: string | Buffer, iv: Buffer = randomBytes(16)): Sealed {
  const cipher = createCipheriv('aes-128-cbc', Buffer.from(sessionKey, 'base64'), iv)
  const encrypted = Buffer.concat([
    cipher.update(typeof plaintext === 'string' ? Buffer.from(plaintext) : plaintext),
    cipher.final()
  ])
  return { encryptedData: encrypted.toString('base64'), iv: iv.toString('base64') }
}

/** sha1 over the raw text and the session_key as its base64 text (here it is not decoded). */
export function signRawData(rawData: string, sessionKey: string): string {
  return createHash('sha1')
    .update(rawData + sessionKey, 'utf8')
    .digest('hex')
}
