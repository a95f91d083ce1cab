/**
 * A phone number as WeChat gives it: in the answer to the code exchange, or as open data through the page
 * (docs/wechat/mini-program.md 2.3, 3).
 */
import { isPlainObject, type JsonValue, readJsonObject } from '../util/json.ts'
import { type Watermark, watermarkOf } from './watermark.ts'

export interface UserPhone {
  /** With the country code if foreign. */
  phoneNumber: string
  purePhoneNumber: string
  countryCode: string
}

export interface MarkedPhone {
  phone: UserPhone
  watermark: Watermark
}

const HOME = '86'
const DIGITS = /^\d{4,20}$/
const COUNTRY_CODE = /^[1-9]\d{0,3}$/
const MEMBERS = ['countryCode', 'phoneNumber', 'purePhoneNumber', 'watermark']
const WATERMARK_MEMBERS = ['appid', 'timestamp']
/** Every character of it is one of these. */
const PLAIN_TEXT = /^[\t\n\r -~]*$/

/** `phone_info` of getuserphonenumber. It comes from WeChat itself, so that its shape is all that has to fit. */
export function readPhoneInfo(info: unknown): MarkedPhone | undefined {
  const { phoneNumber, purePhoneNumber, countryCode, watermark } = (info ?? {}) as Record<string, unknown>
  if (typeof phoneNumber !== 'string' || typeof purePhoneNumber !== 'string') return undefined
  if (typeof countryCode !== 'string' && typeof countryCode !== 'number') return undefined
  const phone = { phoneNumber, purePhoneNumber, countryCode: String(countryCode) }
  return { phone, watermark: timedWatermarkOf(watermark) ?? { appid: '', timestamp: 0 } }
}

/**
 * A decrypted phone number. Blocks of AES-CBC can be exchanged and altered by whoever holds other data of the same
 * user, which leaves other numbers, or a block that nobody can choose. So this is strict where other open data is read
 * as it comes: these members and no others, each once; digits where digits belong; and the two numbers agree.
 */
export function readPhoneData(plaintext: Buffer): MarkedPhone | undefined {
  const data = readJsonObject(plaintext, { repeated: 'refuse' })
  if (data === undefined || !hasExactly(data, MEMBERS) || !PLAIN_TEXT.test(plaintext.toString('latin1')))
    return undefined
  const { phoneNumber, purePhoneNumber, watermark: mark } = data
  const countryCode = typeof data.countryCode === 'number' ? String(data.countryCode) : data.countryCode
  if (!isText(phoneNumber) || !isText(purePhoneNumber) || !isText(countryCode)) return undefined
  const watermark = isPlainObject(mark) && hasExactly(mark, WATERMARK_MEMBERS) ? timedWatermarkOf(mark) : undefined
  const phone = { phoneNumber, purePhoneNumber, countryCode }
  return watermark && agrees(phone) ? { phone, watermark } : undefined
}

function timedWatermarkOf(mark: unknown): Watermark | undefined {
  const watermark = watermarkOf(mark)
  return watermark?.timestamp === undefined ? undefined : watermark
}

/** Home numbers stand without the country code, foreign ones with it. */
function agrees({ phoneNumber, purePhoneNumber, countryCode }: UserPhone): boolean {
  if (!DIGITS.test(purePhoneNumber) || !COUNTRY_CODE.test(countryCode)) return false
  const international = `${countryCode}${purePhoneNumber}`
  const isHome = countryCode === HOME && phoneNumber === purePhoneNumber
  return isHome || phoneNumber === international || phoneNumber === `+${international}`
}

const hasExactly = (object: object, members: readonly string[]): boolean =>
  Object.keys(object).sort().join() === members.join()

const isText = (value: JsonValue | undefined): value is string => typeof value === 'string'
