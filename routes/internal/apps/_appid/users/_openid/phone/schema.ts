import { Type } from '@sinclair/typebox'
import { problems, StringEnum, WECHAT_PROBLEMS } from '../../../../../../_shared/schemas.ts'
import { DATA_PROBLEMS, PHONE_EXAMPLE, PHONE_FIELDS, PhoneBody } from '../../../../../../_shared/user-data.ts'
import { USER_PROBLEMS, UserParams } from '../../schemas.ts'

export const UserPhoneSchema = {
  operationId: 'getPhoneNumberOfUser',
  tags: ['users'],
  summary: "A user's phone number, from the code or the data that the page got; with a code it is WeChat's own word",
  params: UserParams,
  body: PhoneBody,
  response: {
    200: Type.Object(
      {
        ...PHONE_FIELDS,
        source: StringEnum(['code', 'data'], {
          description: 'code: WeChat said so; data: the owner of the phone may have altered it'
        })
      },
      { $id: 'ProvenPhoneNumber', examples: [{ ...PHONE_EXAMPLE, source: 'code' }] }
    ),
    ...problems(...USER_PROBLEMS, 'CODE_INVALID', ...DATA_PROBLEMS, ...WECHAT_PROBLEMS)
  }
}
