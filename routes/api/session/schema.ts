import { Type } from '@sinclair/typebox'
import { Appid, Openid, problems, SESSION_PROBLEMS } from '../../schemas.ts'

const Time = Type.String({ format: 'date-time' })

export const SessionSchema = {
  tags: ['mini-program'],
  summary: 'Who is logged in',
  response: {
    200: Type.Object({
      appid: Appid,
      openid: Openid,
      unionid: Type.Optional(Type.String()),
      sessionId: Type.String(),
      createdAt: Time,
      expiresAt: Time,
      sessionKeyHeld: Type.Boolean({ description: 'whether data that WeChat encrypts can be opened now' })
    }),
    ...problems(...SESSION_PROBLEMS)
  }
}
