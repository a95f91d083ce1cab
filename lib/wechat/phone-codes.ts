/**
 * A phone button's code becomes a phone number, by one call to WeChat for each code of a user, across all instances.
 */
import { hash } from 'node:crypto'
import type { Sealer } from '../crypto/seal.ts'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import type { Once } from '../redis/once.ts'
import type { User } from '../sessions/model.ts'
import type { AccessTokens } from './access-token.ts'
import { readPhoneInfo, type UserPhone } from './phone-number.ts'
import type { Watermark } from './watermark.ts'

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

export class PhoneCodes {
  readonly #options: PhoneCodesOptions

  constructor(options: PhoneCodesOptions) {
    this.#options = options
  }

  /**
   * The number that WeChat gives for `code`, if the code is this user's own (docs/wechat/mini-program.md 3). The same
   * code soon after gets the same number. Throws CODE_INVALID, WATERMARK_INVALID, WECHAT_*, and RATE_LIMITED where this
   * user exchanged too many.
   */
  exchange(user: User, code: string): Promise<UserPhone> {
    const { once, keys, sealer } = this.#options
    const key = keys.phoneCode(user.appid, user.openid, hash('sha256', code, 'base64url'))
    return once.run({
      key,
      work: () => this.#askWechat(user, code),
      // Others read it in Redis, so it is sealed: bound to its key, which names app, user and code.
      write: (phone) => sealer.seal(Buffer.from(JSON.stringify(phone)), key).toString('base64'),
      read: async (text) => {
        const opened = sealer.open(Buffer.from(text, 'base64'), key)
        return opened && (JSON.parse(opened.toString()) as UserPhone)
      }
    })
  }

  async #askWechat(user: User, code: string): Promise<UserPhone> {
    const { accessTokens, countPhoneCode, checkWatermark } = this.#options
    const path = '/wxa/business/getuserphonenumber'
    const body = { code, openid: user.openid }
    const count = () => countPhoneCode(user)
    const { phone_info } = await accessTokens.post('phone', user.appid, path, body, count)
    const answer = readPhoneInfo(phone_info)
    if (answer === undefined)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'getuserphonenumber answered without a phone number' })
    checkWatermark(answer.watermark, user)
    return answer.phone
  }
}
