import { Type } from '@sinclair/typebox'
import { Base64, problems, SESSION_PROBLEMS, WECHAT_PROBLEMS } from '../../schemas.ts'

export const PhoneSchema = {
  operationId: 'getPhoneNumber',
  tags: ['mini-program'],
  summary: "The user's phone number, decrypted here or exchanged at WeChat",
  body: Type.Object(
    {
      code: Type.Optional(
        Type.String({ minLength: 1, maxLength: 128, description: "from the button's event, not from wx.login" })
      ),
      encryptedData: Type.Optional(Base64(49_152)),
      iv: Type.Optional(Base64(128))
    },
    {
      additionalProperties: false,
      minProperties: 1,
      dependencies: { encryptedData: ['iv'], iv: ['encryptedData'] },
      examples: [
        { code: 'e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144' },
        {
          encryptedData: 'CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS',
          iv: 'r7BXXKkLb8qrSNn05n2qiA=='
        }
      ]
    }
  ),
  response: {
    200: Type.Object(
      {
        phoneNumber: Type.String({ description: 'with the country code if foreign' }),
        purePhoneNumber: Type.String(),
        countryCode: Type.String()
      },
      { examples: [{ phoneNumber: '13580006666', purePhoneNumber: '13580006666', countryCode: '86' }] }
    ),
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
