/** Sealing of secrets at rest: AES-256-GCM, the id of the key in front, the name of the place as additional data. */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'

export interface EncryptionKey {
  id: string
  key: Buffer
}

const IV_BYTES = 12
const TAG_BYTES = 16

/** Seals and opens values. What was sealed for one `place` (a Redis key's name) does not open at another. */
export class Sealer {
  /** The id under which new values are sealed. */
  readonly currentId: string
  readonly #currentKey: KeyObject
  /** Node.js makes a KeyObject of a plain key at every use, which costs more than the cipher. */
  readonly #byId: ReadonlyMap<string, KeyObject>
  readonly #derived = new Map<string, KeyObject>()
  readonly #header: Buffer

  /** The first key seals, all open. */
  constructor(keys: readonly EncryptionKey[]) {
    const [current] = keys
    if (current === undefined) throw new RangeError('a sealer needs at least one encryption key')
    this.currentId = current.id
    this.#currentKey = createSecretKey(current.key)
    this.#byId = new Map(keys.map(({ id, key }) => [id, createSecretKey(key)]))
    this.#header = Buffer.from(`${String.fromCharCode(current.id.length)}${current.id}`, 'latin1')
  }

  /** `[length of id][id][iv][tag][ciphertext]`, under the first key. */
  seal(plaintext: Buffer, place: string): Buffer {
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#currentKey, iv, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(place))
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
    return Buffer.concat([this.#header, iv, cipher.getAuthTag(), ciphertext])
  }

  /** undefined where no key is held by that id, or the value was changed or moved. */
  open(sealed: Buffer, place: string): Buffer | undefined {
    const idEnd = 1 + (sealed[0] ?? 0)
    const key = this.#byId.get(sealed.toString('latin1', 1, idEnd))
    const ivEnd = idEnd + IV_BYTES
    const textStart = ivEnd + TAG_BYTES
    if (key === undefined || sealed.length < textStart) return undefined
    const iv = sealed.subarray(idEnd, ivEnd)
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(place)).setAuthTag(sealed.subarray(ivEnd, textStart))
    try {
      return Buffer.concat([decipher.update(sealed.subarray(textStart)), decipher.final()])
    } catch {
      return undefined
    }
  }

  /** A key of its own for `purpose`, derived from the encryption key `id`. undefined for an unknown id. */
  derive(purpose: string, id: string): KeyObject | undefined {
    const name = `${purpose} ${id}`
    const key = this.#derived.get(name) ?? deriveKey(this.#byId.get(id), purpose)
    if (key !== undefined) this.#derived.set(name, key)
    return key
  }
}

const deriveKey = (key: KeyObject | undefined, purpose: string): KeyObject | undefined =>
  key && createSecretKey(createHmac('sha256', key).update(purpose).digest())
