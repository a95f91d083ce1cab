import { Type } from '@sinclair/typebox'
import { listOf, pageFields } from '../../../../../../_shared/lists.ts'
import { problems } from '../../../../../../_shared/schemas.ts'
import { HeldSession, USER_PROBLEMS, UserParams } from '../../schemas.ts'

export const ListSessionsSchema = {
  operationId: 'listSessions',
  tags: ['users'],
  summary: 'The sessions of a user, newest first',
  params: UserParams,
  querystring: Type.Object(pageFields('^[0-9a-z]{1,8}\\.[\\w-]{22}$'), { additionalProperties: false }),
  response: {
    200: listOf('SessionList', HeldSession, {
      items: [
        {
          sessionId: 'Q3cYpB0nT4mJ8xk1d2VfZw',
          createdAt: '2026-11-23T18:46:40.000Z',
          expiresAt: '2026-12-23T18:46:40.000Z'
        }
      ],
      next: 'tozfv4.Q3cYpB0nT4mJ8xk1d2VfZw'
    }),
    ...problems(...USER_PROBLEMS)
  }
}

export const RevokeSessionsSchema = {
  operationId: 'revokeSessions',
  tags: ['users'],
  summary: 'End all sessions of a user; their tokens are refused from the next request on',
  params: UserParams,
  response: { 204: Type.Null({ description: 'No session of this user is left.' }), ...problems(...USER_PROBLEMS) }
}

export const RevokeSessionSchema = {
  operationId: 'revokeSession',
  tags: ['users'],
  summary: 'End one session of a user; its tokens are refused from the next request on',
  params: Type.Object({
    ...UserParams.properties,
    sessionId: Type.String({ pattern: '^[\\w-]{22}$', description: 'of the list, or `sid` of a token' })
  }),
  response: { 204: Type.Null({ description: 'This session is no more.' }), ...problems(...USER_PROBLEMS) }
}
