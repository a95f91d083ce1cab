import { Type } from '@sinclair/typebox'
import { INTERNAL_PROBLEMS, problems, WECHAT_PROBLEMS } from '../../../../schemas.ts'

export const AccessTokenSchema = {
  operationId: 'getAccessToken',
  tags: ['apps'],
  summary: 'The access_token that all instances and all callers share',
  params: Type.Object({ appid: Type.String({ description: 'of the mini-program' }) }),
  response: {
    200: Type.Object(
      {
        accessToken: Type.String({ description: 'ask for it before each use: it is renewed before it ends' }),
        expiresAt: Type.String({ format: 'date-time' })
      },
      {
        examples: [
          {
            accessToken: '86_yKbO2Hn1c0pQxWcV7tZ5mJ4sRfLd9uGaTe8iXo3B6vNqYwPzEk',
            expiresAt: '2026-11-23T20:46:40.000Z'
          }
        ]
      }
    ),
    ...problems(...INTERNAL_PROBLEMS, 'APP_UNKNOWN', ...WECHAT_PROBLEMS)
  }
}
