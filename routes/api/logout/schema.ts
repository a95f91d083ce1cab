import { Type } from '@sinclair/typebox'
import { problems, SESSION_PROBLEMS } from '../../_shared/schemas.ts'

export const LogoutSchema = {
  operationId: 'endSession',
  tags: ['mini-program'],
  summary: 'End this session, or all of this user',
  body: Type.Optional(
    Type.Union([
      Type.Null(),
      Type.Object(
        { everywhere: Type.Optional(Type.Boolean({ description: 'all sessions of this user in this app' })) },
        { additionalProperties: false, examples: [{ everywhere: true }] }
      )
    ])
  ),
  response: { 204: Type.Null({ description: 'The session has ended.' }), ...problems(...SESSION_PROBLEMS) }
}
