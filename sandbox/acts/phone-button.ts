/** The user presses a button with open-type getPhoneNumber, and consents. */
import { type Static, Type } from '@sinclair/typebox'
import { type Sealed, seal } from '../wire/open-data.ts'
import type { PhoneInfo, World } from '../world.ts'
import { Watermark, watermark } from './act.ts'
import { sessionKeyOf, userOf } from './login.ts'

export const PhoneButtonInput = Type.Object(
  {
    appid: Type.String(),
    openid: Type.String(),
    phoneNumber: Type.Optional(Type.String({ description: 'without area code; default 13000000000' })),
    countryCode: Type.Optional(Type.String({ pattern: '^\\d{1,4}$', description: 'default 86' })),
    ...Watermark
  },
  { additionalProperties: false }
)
export type PhoneButtonInput = Static<typeof PhoneButtonInput>

export interface PhoneButtonResult extends Sealed {
  code: string
}

/** Foreign numbers stand with their area code in phoneNumber, home numbers without. */
function phoneInfo(world: World, input: PhoneButtonInput): PhoneInfo {
  const { appid, phoneNumber: purePhoneNumber = '13000000000', countryCode = '86' } = input
  const phoneNumber = countryCode === '86' ? purePhoneNumber : `+${countryCode}${purePhoneNumber}`
  return { phoneNumber, purePhoneNumber, countryCode, watermark: watermark(world, appid, input) }
}

/**
 * Both ways at once: a code for getuserphonenumber (single use, 5 minutes), and the same data encrypted with the user's
 * present session_key.
 */
export function phoneButton(world: World, input: PhoneButtonInput): PhoneButtonResult {
  const user = userOf(world, input.appid, input.openid)
  const info = phoneInfo(world, input)
  const sealed = seal(sessionKeyOf(user), JSON.stringify(info))
  return { code: world.phoneCodes.issue({ user, info }), ...sealed }
}
