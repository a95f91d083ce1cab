/**
 * AEAD_AES_256_GCM, in which WeChat seals callback resources and platform certificates
 * (pay.weixin.qq.com/doc/v3/merchant/4012071382).
 */
import { createDecipheriv, type KeyObject } from 'node:crypto'
import { decodeCanonicalBase64 } from '../../util/base64.ts'

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
