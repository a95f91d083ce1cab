/** What a page hands on of its users' data, to /api itself or through the merchant's backend. */
import { Type } from '@sinclair/typebox'

/** Base64 as wx gives it, or as forms and URLs leave it: spaces for its +, percent-encoded, with line breaks. */
const Base64 = (maxLength: number, description: string) =>
  Type.String({ minLength: 4, maxLength, pattern: '^[\\w+/=% \\t\\r\\n-]+$', description })

const EncryptedData = Base64(49_152, 'base64, from the same event as iv')
const Iv = Base64(128, 'base64 of 16 bytes, from the same event as encryptedData')

const EXAMPLE = {
  encryptedData: 'CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS',
  iv: 'r7BXXKkLb8qrSNn05n2qiA=='
}

const PAIRS = { encryptedData: ['iv'], iv: ['encryptedData'], rawData: ['signature'], signature: ['rawData'] }

export const PhoneBody = Type.Object(
  {
    code: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: "from the button's event, not from wx.login" })
    ),
    encryptedData: Type.Optional(EncryptedData),
    iv: Type.Optional(Iv)
  },
  {
    $id: 'PhoneRequest',
    anyOf: [{ required: ['code'] }, { required: ['encryptedData', 'iv'] }],
    dependencies: { encryptedData: PAIRS.encryptedData, iv: PAIRS.iv },
    examples: [{ code: 'e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144' }, EXAMPLE]
  }
)

export const PHONE_FIELDS = {
  phoneNumber: Type.String({ description: 'with the country code if foreign' }),
  purePhoneNumber: Type.String(),
  countryCode: Type.String()
}

export const PHONE_EXAMPLE = { phoneNumber: '13580006666', purePhoneNumber: '13580006666', countryCode: '86' }

export const UserDataBody = Type.Object(
  {
    encryptedData: Type.Optional(EncryptedData),
    iv: Type.Optional(Iv),
    rawData: Type.Optional(
      Type.String({ minLength: 1, maxLength: 32_768, description: 'the text, exactly as the page got it' })
    ),
    signature: Type.Optional(
      Type.String({ pattern: '^[0-9a-fA-F]{40}$', description: 'from the same answer as rawData' })
    )
  },
  {
    $id: 'UserDataRequest',
    anyOf: [{ required: ['encryptedData', 'iv'] }, { required: ['rawData', 'signature'] }],
    dependencies: PAIRS,
    examples: [
      EXAMPLE,
      { rawData: '{"nickName":"Band","gender":1}', signature: '75e81ceda165f4ffa64f4068af58c64b8f54b88c' }
    ]
  }
)

export const UserDataAnswer = Type.Object(
  {
    data: Type.Object(
      {},
      {
        additionalProperties: true,
        description: "WeChat's fields as they came, without the watermark; whole numbers beyond 2^53 as text"
      }
    )
  },
  { $id: 'UserData', examples: [{ data: { stepInfoList: [{ timestamp: 1795392000, step: 8421 }] } }] }
)

export const DATA_PROBLEMS = ['SESSION_KEY_EXPIRED', 'DECRYPT_FAILED', 'WATERMARK_INVALID', 'RATE_LIMITED'] as const
export const RAW_DATA_PROBLEMS = ['SIGNATURE_INVALID', 'DATA_MALFORMED'] as const
