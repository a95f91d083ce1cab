import { problems } from '../../../../../../_shared/schemas.ts'
import { DATA_PROBLEMS, RAW_DATA_PROBLEMS, UserDataAnswer, UserDataBody } from '../../../../../../_shared/user-data.ts'
import { USER_PROBLEMS, UserParams } from '../../schemas.ts'

export const DataOfUserSchema = {
  operationId: 'readDataOfUser',
  tags: ['users'],
  summary: 'Open data of a user that the page got; its owner may have altered it',
  params: UserParams,
  body: UserDataBody,
  response: { 200: UserDataAnswer, ...problems(...USER_PROBLEMS, ...DATA_PROBLEMS, ...RAW_DATA_PROBLEMS) }
}
