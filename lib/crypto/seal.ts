/** Sealing of secrets at rest: AES-256-GCM, the id of the key in front, the name of the place as additional data. */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'

export interface EncryptionKey {
  id: string
  key: Buffer
}

const IV_BYTES = 12
const TAG_BYTES = 16

/** Seals and opens values. What was sealed for one `place` (a Redis key's name) does not open at another. */
export interface Sealer {
  /** `[length of id][id][iv][tag][ciphertext]`, under the first key. */
  seal(plaintext: Buffer, place: string): Buffer
  /** undefined where no key is held by that id, or the value was changed or moved. */
  open(sealed: Buffer, place: string): Buffer | undefined
  /** A key of its own for `purpose`, derived from the encryption key `id`. undefined for an unknown id. */
  derive(purpose: string, id: string): KeyObject | undefined
  /** The id under which new values are sealed. */
  currentId: string
}

export function createSealer(keys: readonly EncryptionKey[]): Sealer {
  const [current] = keys
  if (current === undefined) throw new RangeError('a sealer needs at least one encryption key')
  // Node.js makes a KeyObject of a plain key at every use, which costs more than the cipher.
  const byId = new Map(keys.map(({ id, key }) => [id, createSecretKey(key)]))
  const currentKey = createSecretKey(current.key)
  const derived = new Map<string, KeyObject>()
  const header = Buffer.from(`${String.fromCharCode(current.id.length)}${current.id}`, 'latin1')

  return {
    currentId: current.id,

    seal(plaintext, place) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', currentKey, iv, { authTagLength: TAG_BYTES }).setAAD(
        Buffer.from(place)
      )
      const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
      return Buffer.concat([header, iv, cipher.getAuthTag(), ciphertext])
    },

    open(sealed, place) {
      const idEnd = 1 + (sealed[0] ?? 0)
      const key = byId.get(sealed.toString('latin1', 1, idEnd))
      const textStart = idEnd + IV_BYTES + TAG_BYTES
      if (key === undefined || sealed.length < textStart) return undefined
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(idEnd, idEnd + IV_BYTES), {
        authTagLength: TAG_BYTES
      })
      decipher.setAAD(Buffer.from(place)).setAuthTag(sealed.subarray(idEnd + IV_BYTES, textStart))
      try {
        return Buffer.concat([decipher.update(sealed.subarray(textStart)), decipher.final()])
      } catch {
        return undefined
      }
    },

    derive(purpose, id) {
      const name = `${purpose} ${id}`
      const key = derived.get(name) ?? deriveKey(byId.get(id), purpose)
      if (key !== undefined) derived.set(name, key)
      return key
    }
  }
}

const deriveKey = (key: KeyObject | undefined, purpose: string): KeyObject | undefined =>
  key && createSecretKey(createHmac('sha256', key).update(purpose).digest())
