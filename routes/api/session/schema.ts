import { Type } from '@sinclair/typebox'
import { Appid, Openid, Optional, problems, SESSION_PROBLEMS, Time } from '../../_shared/schemas.ts'

export const SessionSchema = {
  operationId: 'getSession',
  tags: ['mini-program'],
  summary: 'Who is logged in',
  response: {
    200: Type.Object(
      {
        appid: Appid,
        openid: Openid,
        unionid: Optional(Type.String()),
        sessionId: Type.String(),
        createdAt: Time,
        expiresAt: Time,
        sessionKeyHeld: Type.Boolean({ description: 'whether data that WeChat encrypts can be opened now' })
      },
      {
        $id: 'Session',
        examples: [
          {
            appid: 'wx0123456789abcdef',
            openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
            sessionId: 'Yk3uN1mTq0xW5aVc',
            createdAt: '2026-11-23T18:46:40.000Z',
            expiresAt: '2026-12-23T18:46:40.000Z',
            sessionKeyHeld: true
          }
        ]
      }
    ),
    ...problems(...SESSION_PROBLEMS)
  }
}
