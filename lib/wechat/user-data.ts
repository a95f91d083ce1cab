/** What users let us know about them: phone numbers and any other open data. */
import { ServiceError } from '../errors.ts'
import type { FailedTries } from '../limits/failed-tries.ts'
import type { Meters } from '../metrics/meters.ts'
import type { KeyRing, User } from '../sessions/model.ts'
import { type JsonObject, type JsonValue, readJsonObject } from '../util/json.ts'
import { type Encrypted, type OpenedByKey, openWithKeys, rawDataHolds, readOpenData } from './open-data.ts'
import type { PhoneCodes } from './phone-codes.ts'
import { readPhoneData, type UserPhone } from './phone-number.ts'
import type { Watermark } from './watermark.ts'

export interface PhoneRequest extends Partial<Encrypted> {
  code?: string
}

export interface UserDataRequest extends Partial<Encrypted> {
  rawData?: string
  signature?: string
}

/** With a code WeChat itself confirms the number. Data came through a phone, whose owner may have altered it. */
export interface SourcedPhone extends UserPhone {
  source: 'code' | 'data'
}

export interface UserDataOptions {
  phoneCodes: PhoneCodes
  failedTries: FailedTries
  keyRingOf(user: User): Promise<KeyRing>
  /** Throws WATERMARK_INVALID, and DECRYPT_FAILED of a time that counts and cannot be read. */
  checkWatermark(watermark: Watermark, user: User): void
  meters: Pick<Meters, 'sessionKeyTried'>
}

/** These are no tries: nothing was opened, or the signature was right. */
const NO_TRIES: ReadonlySet<string> = new Set(['SESSION_KEY_EXPIRED', 'DATA_MALFORMED'])

/**
 * All throw SESSION_KEY_EXPIRED, DECRYPT_FAILED and WATERMARK_INVALID of data, and RATE_LIMITED where too much of it
 * did not open.
 */
export class UserData {
  readonly #options: UserDataOptions

  constructor(options: UserDataOptions) {
    this.#options = options
  }

  /**
   * The phone number, decrypted here with a held session_key or exchanged for the button's code. With both given, the
   * code is used where decryption fails. Throws CODE_INVALID and WECHAT_* of the code.
   */
  async phone(user: User, keyRing: KeyRing, { code, ...data }: PhoneRequest): Promise<UserPhone> {
    const { phoneCodes } = this.#options
    const encrypted = wholeOf(data)
    if (encrypted === undefined) return phoneCodes.exchange(user, code ?? '')
    try {
      return await this.#phoneByData(user, keyRing, encrypted)
    } catch (error) {
      if (code === undefined) throw error
      return phoneCodes.exchange(user, code)
    }
  }

  /** The same for a caller who needs proof of the number: with both given, the code alone counts. */
  async provenPhone(user: User, { code, ...data }: PhoneRequest): Promise<SourcedPhone> {
    const { phoneCodes, keyRingOf } = this.#options
    const encrypted = wholeOf(data)
    if (code !== undefined || encrypted === undefined)
      return { ...(await phoneCodes.exchange(user, code ?? '')), source: 'code' }
    return { ...(await this.#phoneByData(user, await keyRingOf(user), encrypted)), source: 'data' }
  }

  /**
   * The decrypted object without its watermark, or the verified rawData. Throws SIGNATURE_INVALID and DATA_MALFORMED of
   * rawData.
   */
  read(user: User, keyRing: KeyRing, { rawData, signature, ...data }: UserDataRequest): Promise<JsonObject> {
    return this.#withKeys(user, keyRing, (keys) => {
      const isSigned = rawData !== undefined && signature !== undefined
      const verified = isSigned ? this.#verifyRawData(rawData, signature, keys) : {}
      const encrypted = wholeOf(data)
      return encrypted === undefined ? verified : this.#openData(user, encrypted, keys)
    })
  }

  #phoneByData(user: User, keyRing: KeyRing, encrypted: Encrypted): Promise<UserPhone> {
    const open = (keys: readonly Buffer[]) => this.#opened(user, openWithKeys(encrypted, keys, readPhoneData)).phone
    return this.#withKeys(user, keyRing, open)
  }

  /** The result of `open` with the keys held. What fails is counted. */
  #withKeys<T>(user: User, keyRing: KeyRing, open: (keys: readonly Buffer[]) => T): Promise<T> {
    return this.#options.failedTries.attempt({
      user,
      failed: keyRing.failedTries,
      open() {
        if (keyRing.sessionKeys.length === 0) throw new ServiceError('SESSION_KEY_EXPIRED')
        return open(keyRing.sessionKeys)
      },
      isFailure: (error) => !(error instanceof ServiceError && NO_TRIES.has(error.code))
    })
  }

  #opened<T extends { watermark: Watermark }>(user: User, found: OpenedByKey<T> | undefined): T {
    const { meters, checkWatermark } = this.#options
    meters.sessionKeyTried(found?.position ?? -1)
    if (found === undefined) throw new ServiceError('DECRYPT_FAILED')
    checkWatermark(found.value.watermark, user)
    return found.value
  }

  #openData(user: User, encrypted: Encrypted, keys: readonly Buffer[]): JsonObject {
    const { data } = this.#opened(user, openWithKeys(encrypted, keys, readOpenData))
    if (!mayBeOf(user, data.openId) || !mayBeOf(user, data.openid))
      throw new ServiceError('DECRYPT_FAILED', { detail: 'the openId inside is not the one of the user' })
    return data
  }

  #verifyRawData(rawData: string, signature: string, keys: readonly Buffer[]): JsonObject {
    const position = keys.findIndex((key) => rawDataHolds(rawData, signature, key))
    this.#options.meters.sessionKeyTried(position)
    if (position === -1) throw new ServiceError('SIGNATURE_INVALID')
    const data = readJsonObject(rawData)
    if (data === undefined) throw new ServiceError('DATA_MALFORMED')
    return data
  }
}

const wholeOf = ({ encryptedData, iv }: Partial<Encrypted>): Encrypted | undefined =>
  encryptedData !== undefined && iv !== undefined ? { encryptedData, iv } : undefined

/** Whether an openId inside does not speak against this user: profiles without one leave it out, or empty. */
const mayBeOf = ({ openid }: User, openId: JsonValue | undefined): boolean =>
  openId === undefined || openId === null || openId === '' || openId === openid
