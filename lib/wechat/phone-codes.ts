/**
 * A phone button's code becomes a phone number, by one call to WeChat for each code of a user, on however many
 * instances it arrives.
 */
import { hash } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import type { Once } from '../redis/once.ts'
import type { Sealer } from '../sessions/seal.ts'
import type { User } from '../sessions/store.ts'
import type { AccessTokens } from './access-token.ts'
import { type PhoneNumber, readPhoneInfo } from './phone-number.ts'
import type { Watermark } from './watermark.ts'

export interface PhoneCodes {
  /**
   * The number that WeChat tells for `code`, if the code is this user's own (mini-program.md 3). The same code soon
   * after gets the same number. Throws CODE_INVALID, WATERMARK_INVALID, WECHAT_*, and RATE_LIMITED where this user
   * exchanged too many.
   */
  exchange(user: User, code: string): Promise<PhoneNumber>
}

export interface PhoneCodesOptions {
  once: Once
  keys: Keys
  sealer: Sealer
  accessTokens: AccessTokens
  /** Counts an exchange. Throws RATE_LIMITED. */
  countPhoneCode(user: User): Promise<void>
  /** Throws WATERMARK_INVALID. */
  checkWatermark(watermark: Watermark, user: User): void
}

export function createPhoneCodes(options: PhoneCodesOptions): PhoneCodes {
  const { once, keys, sealer, accessTokens, countPhoneCode, checkWatermark } = options

  async function askWechat(user: User, code: string): Promise<PhoneNumber> {
    const body = { code, openid: user.openid }
    const { phone_info } = await accessTokens.post('phone', user.appid, '/wxa/business/getuserphonenumber', body, () =>
      countPhoneCode(user)
    )
    const answer = readPhoneInfo(phone_info)
    if (answer === undefined)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'getuserphonenumber answered without a phone number' })
    checkWatermark(answer.watermark, user)
    return answer.phone
  }

  return {
    exchange(user, code) {
      const place = keys.phoneCode(user.appid, user.openid, hash('sha256', code, 'base64url'))
      return once.run({
        place,
        work: () => askWechat(user, code),
        // It lies in Redis for others to read, so it is sealed: bound to its place, which names app, user and code.
        write: (phone) => sealer.seal(Buffer.from(JSON.stringify(phone)), place).toString('base64'),
        read: async (text) => {
          const opened = sealer.open(Buffer.from(text, 'base64'), place)
          return opened && (JSON.parse(opened.toString()) as PhoneNumber)
        }
      })
    }
  }
}
