import { problems, SESSION_PROBLEMS } from '../../_shared/schemas.ts'
import { DATA_PROBLEMS, RAW_DATA_PROBLEMS, UserDataAnswer, UserDataBody } from '../../_shared/user-data.ts'

export const UserDataSchema = {
  operationId: 'readUserData',
  tags: ['mini-program'],
  summary: 'Open data of any kind: profile, WeRun, share info',
  body: UserDataBody,
  response: { 200: UserDataAnswer, ...problems(...SESSION_PROBLEMS, ...DATA_PROBLEMS, ...RAW_DATA_PROBLEMS) }
}
