import { Type } from '@sinclair/typebox'
import { Openid, problems, Time } from '../../../../../_shared/schemas.ts'
import { HeldSession, USER_PROBLEMS, UserParams } from '../schemas.ts'

const Held = Type.Object(
  {
    appid: Type.String(),
    openid: Openid,
    unionid: Type.Optional(Type.String({ description: 'where WeChat told it at a login whose session is held' })),
    sessions: Type.Array(HeldSession, { description: 'newest first' }),
    sessionKeys: Type.Array(Type.Object({ expiresAt: Time }), { description: 'one entry for each, newest first' }),
    counts: Type.Array(
      Type.Object({
        name: Type.String({
          description:
            'phone-codes: how many were exchanged in this day; failed-tries: how often data did not open in ten minutes'
        }),
        count: Type.Integer(),
        endsAt: Type.String({ format: 'date-time', description: 'when counting begins anew' })
      })
    )
  },
  {
    $id: 'User',
    examples: [
      {
        appid: 'wx0123456789abcdef',
        openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
        sessions: [
          {
            sessionId: 'Q3cYpB0nT4mJ8xk1d2VfZw',
            createdAt: '2026-11-23T18:46:40.000Z',
            expiresAt: '2026-12-23T18:46:40.000Z'
          }
        ],
        sessionKeys: [{ expiresAt: '2026-11-23T20:46:40.000Z' }],
        counts: [{ name: 'phone-codes', count: 2, endsAt: '2026-11-24T18:50:00.000Z' }]
      }
    ]
  }
)

export const ShowSchema = {
  operationId: 'getUser',
  tags: ['users'],
  summary: 'All that is held of a user, without secrets',
  params: UserParams,
  response: { 200: Held, ...problems(...USER_PROBLEMS) }
}

export const EraseSchema = {
  operationId: 'eraseUser',
  tags: ['users'],
  summary: 'Erase a user: sessions, session_keys and counts. Events, orders and quarantine stay',
  params: UserParams,
  response: { 204: Type.Null({ description: 'Nothing of this user is left.' }), ...problems(...USER_PROBLEMS) }
}
