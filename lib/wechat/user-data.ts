/** What a session's user lets WeChat tell about them: phone numbers and any other open data. */
import { ServiceError } from '../errors.ts'
import type { Meters } from '../metrics/meters.ts'
import type { Session } from '../sessions/store.ts'
import type { AccessTokens } from './access-token.ts'
import { decryptOpenData, type OpenData, rawDataHolds, type Watermark } from './open-data.ts'

export interface PhoneNumber {
  phoneNumber: string
  purePhoneNumber: string
  countryCode: string
}

export interface PhoneRequest {
  code?: string
  encryptedData?: string
  iv?: string
}

export interface UserDataRequest {
  encryptedData?: string
  iv?: string
  rawData?: string
  signature?: string
}

/** Whose data it is, and the session_keys held for them, newest first. */
export interface Holder {
  session: Session
  sessionKeys: readonly Buffer[]
}

export interface UserData {
  /**
   * The phone number, decrypted here with a held session_key or exchanged for the button's code; with both given, the code
   * is what is left when decryption fails. Throws SESSION_KEY_EXPIRED, DECRYPT_FAILED, WATERMARK_INVALID, CODE_INVALID, WECHAT_*.
   */
  phone(holder: Holder, request: PhoneRequest): Promise<PhoneNumber>
  /** The decrypted object without its watermark, or the verified rawData. Throws as `phone`, and SIGNATURE_INVALID. */
  read(holder: Holder, request: UserDataRequest): Record<string, unknown>
}

export interface UserDataOptions {
  accessTokens: AccessTokens
  meters: Pick<Meters, 'sessionKeyTried'>
  /** Before a phone code is exchanged. Throws RATE_LIMITED where this user has exchanged too many. */
  countPhoneCode(user: Session): Promise<void>
  /** Seconds; 0: age unchecked. */
  watermarkMaxAgeSeconds: number
  /** Milliseconds since 1970. */
  now: () => number
}

export function createUserData(options: UserDataOptions): UserData {
  const { accessTokens, meters, countPhoneCode, watermarkMaxAgeSeconds, now } = options

  function checkWatermark({ appid, timestamp }: Watermark, session: Session): void {
    const ageSeconds = now() / 1000 - timestamp
    if (appid !== session.appid)
      throw new ServiceError('WATERMARK_INVALID', { detail: 'the watermark names another appid' })
    if (watermarkMaxAgeSeconds > 0 && ageSeconds > watermarkMaxAgeSeconds) {
      throw new ServiceError('WATERMARK_INVALID', { detail: 'the data is older than WATERMARK_MAX_AGE' })
    }
  }

  function decrypt({ session, sessionKeys }: Holder, encryptedData: string, iv: string): Record<string, unknown> {
    needKeys(sessionKeys)
    const opened = firstThatOpens(sessionKeys, encryptedData, iv)
    meters.sessionKeyTried(opened?.position ?? -1)
    if (opened === undefined) throw new ServiceError('DECRYPT_FAILED')
    checkWatermark(opened.watermark, session)
    const { openId } = opened.data
    if (openId !== undefined && openId !== session.openid) {
      throw new ServiceError('DECRYPT_FAILED', { detail: 'the openId inside is not the one of the session' })
    }
    return opened.data
  }

  function verify({ sessionKeys }: Holder, rawData: string, signature: string): Record<string, unknown> {
    needKeys(sessionKeys)
    const position = sessionKeys.findIndex((key) => rawDataHolds(rawData, signature, key))
    meters.sessionKeyTried(position)
    if (position === -1) throw new ServiceError('SIGNATURE_INVALID')
    return readRawData(rawData)
  }

  function phoneByData(holder: Holder, encryptedData: string, iv: string): PhoneNumber {
    const phone = readPhone(decrypt(holder, encryptedData, iv))
    if (phone === undefined)
      throw new ServiceError('DECRYPT_FAILED', { detail: 'what was decrypted is no phone number' })
    return phone
  }

  async function phoneByCode(session: Session, code: string): Promise<PhoneNumber> {
    await countPhoneCode(session)
    const { phone_info } = await accessTokens.post('phone', session.appid, '/wxa/business/getuserphonenumber', {
      code,
      openid: session.openid
    })
    const info = phone_info as (Record<string, unknown> & { watermark?: Partial<Watermark> }) | undefined
    const phone = info && readPhone(info)
    if (phone === undefined)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'getuserphonenumber answered without a phone number' })
    checkWatermark({ appid: info?.watermark?.appid ?? '', timestamp: Number(info?.watermark?.timestamp ?? 0) }, session)
    return phone
  }

  return {
    async phone(holder, { code, encryptedData, iv }) {
      if (encryptedData === undefined || iv === undefined) return phoneByCode(holder.session, code ?? '')
      try {
        return phoneByData(holder, encryptedData, iv)
      } catch (error) {
        if (code === undefined) throw error
        return phoneByCode(holder.session, code)
      }
    },

    read(holder, { encryptedData, iv, rawData, signature }) {
      const verified = rawData !== undefined && signature !== undefined ? verify(holder, rawData, signature) : {}
      return encryptedData !== undefined && iv !== undefined ? decrypt(holder, encryptedData, iv) : verified
    }
  }
}

function needKeys(sessionKeys: readonly Buffer[]): void {
  if (sessionKeys.length === 0) throw new ServiceError('SESSION_KEY_EXPIRED')
}

function firstThatOpens(
  keys: readonly Buffer[],
  encryptedData: string,
  iv: string
): (OpenData & { position: number }) | undefined {
  for (const [position, key] of keys.entries()) {
    const opened = decryptOpenData(encryptedData, iv, key)
    if (opened !== undefined) return { ...opened, position }
  }
  return undefined
}

/** countryCode came as a number on older pages of WeChat's; it goes out as text. */
function readPhone({ phoneNumber, purePhoneNumber, countryCode }: Record<string, unknown>): PhoneNumber | undefined {
  if (typeof phoneNumber !== 'string' || typeof purePhoneNumber !== 'string') return undefined
  if (typeof countryCode !== 'string' && typeof countryCode !== 'number') return undefined
  return { phoneNumber, purePhoneNumber, countryCode: String(countryCode) }
}

function readRawData(rawData: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(rawData)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // falls through: signed, but no JSON object
  }
  throw new ServiceError('DECRYPT_FAILED', {
    message: 'rawData is signed but is no JSON object; obtain the data again'
  })
}
