/** AEAD_AES_256_GCM of APIv3: callback resources and platform certificates. */
import { createCipheriv } from 'node:crypto'

export interface SealedResource {
  algorithm: string
  ciphertext: string
  associated_data: string
  nonce: string
}

/** `key`: 32 characters; `nonce`: 12. */
export function sealResource(key: string, nonce: string, associatedData: string, plaintext: string): SealedResource {
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(key), Buffer.from(nonce))
  cipher.setAAD(Buffer.from(associatedData))
  const sealed = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()])
  return {
    algorithm: 'AEAD_AES_256_GCM',
    ciphertext: sealed.toString('base64'),
    associated_data: associatedData,
    nonce
  }
}
