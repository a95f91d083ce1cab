import { Type } from '@sinclair/typebox'
import { problems, SESSION_PROBLEMS, WECHAT_PROBLEMS } from '../../_shared/schemas.ts'
import { DATA_PROBLEMS, PHONE_EXAMPLE, PHONE_FIELDS, PhoneBody } from '../../_shared/user-data.ts'

export const PhoneSchema = {
  operationId: 'getPhoneNumber',
  tags: ['mini-program'],
  summary: "The user's phone number, decrypted here or exchanged at WeChat; for the page to show, a proof to nobody",
  body: PhoneBody,
  response: {
    200: Type.Object(PHONE_FIELDS, { $id: 'PhoneNumber', examples: [PHONE_EXAMPLE] }),
    ...problems(...SESSION_PROBLEMS, 'CODE_INVALID', ...DATA_PROBLEMS, ...WECHAT_PROBLEMS)
  }
}
