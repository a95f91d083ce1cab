import { Type } from '@sinclair/typebox'
import { Base64, problems, SESSION_PROBLEMS, WECHAT_PROBLEMS } from '../../schemas.ts'

export const PhoneSchema = {
  tags: ['mini-program'],
  summary: "The user's phone number, decrypted here or exchanged at WeChat",
  body: Type.Object(
    {
      code: Type.Optional(
        Type.String({ minLength: 1, maxLength: 128, description: "from the button's event, not from wx.login" })
      ),
      encryptedData: Type.Optional(Base64(16_384)),
      iv: Type.Optional(Base64(24))
    },
    { additionalProperties: false, minProperties: 1, dependencies: { encryptedData: ['iv'], iv: ['encryptedData'] } }
  ),
  response: {
    200: Type.Object({
      phoneNumber: Type.String({ description: 'with the country code if foreign' }),
      purePhoneNumber: Type.String(),
      countryCode: Type.String()
    }),
    ...problems(
      ...SESSION_PROBLEMS,
      'CODE_INVALID',
      'SESSION_KEY_EXPIRED',
      'DECRYPT_FAILED',
      'WATERMARK_INVALID',
      ...WECHAT_PROBLEMS
    )
  }
}
