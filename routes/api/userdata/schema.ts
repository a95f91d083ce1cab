import { Type } from '@sinclair/typebox'
import { Base64, problems, SESSION_PROBLEMS } from '../../schemas.ts'

export const UserDataSchema = {
  operationId: 'readUserData',
  tags: ['mini-program'],
  summary: 'Open data of any kind: profile, WeRun, share info',
  body: Type.Object(
    {
      encryptedData: Type.Optional(Base64(49_152)),
      iv: Type.Optional(Base64(128)),
      rawData: Type.Optional(
        Type.String({ minLength: 2, maxLength: 32_768, description: 'exactly as the client got it' })
      ),
      signature: Type.Optional(Type.String({ pattern: '^[0-9a-fA-F]{40}$' }))
    },
    {
      additionalProperties: false,
      minProperties: 1,
      dependencies: { encryptedData: ['iv'], iv: ['encryptedData'], rawData: ['signature'], signature: ['rawData'] },
      examples: [
        {
          encryptedData: 'CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS',
          iv: 'r7BXXKkLb8qrSNn05n2qiA=='
        },
        { rawData: '{"nickName":"Band","gender":1}', signature: '75e81ceda165f4ffa64f4068af58c64b8f54b88c' }
      ]
    }
  ),
  response: {
    200: Type.Object(
      {
        data: Type.Record(Type.String(), Type.Unknown(), {
          description: "WeChat's fields as they came, without the watermark"
        })
      },
      { examples: [{ data: { stepInfoList: [{ timestamp: 1795392000, step: 8421 }] } }] }
    ),
    ...problems(
      ...SESSION_PROBLEMS,
      'SESSION_KEY_EXPIRED',
      'DECRYPT_FAILED',
      'WATERMARK_INVALID',
      'SIGNATURE_INVALID',
      'DATA_MALFORMED'
    )
  }
}
