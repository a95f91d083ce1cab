/** What the calls about one user have in common. */
import { Type } from '@sinclair/typebox'
import { INTERNAL_PROBLEMS, Openid, Time } from '../../../../_shared/schemas.ts'

/** An appid of any form, so that one that cannot be is refused like one that is not configured. */
export const UserParams = Type.Object({ appid: Type.String({ description: 'of the mini-program' }), openid: Openid })

export const USER_PROBLEMS = [...INTERNAL_PROBLEMS, 'APP_UNKNOWN'] as const

export const HeldSession = Type.Object(
  { sessionId: Type.String(), createdAt: Time, expiresAt: Time },
  { $id: 'HeldSession' }
)
