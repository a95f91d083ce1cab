import { Type } from '@sinclair/typebox'
import { INTERNAL_PROBLEMS, problems, WECHAT_PROBLEMS } from '../../../../_shared/schemas.ts'

const params = Type.Object({ appid: Type.String({ description: 'of the mini-program' }) })

const response = {
  200: Type.Object(
    {
      accessToken: Type.String({ description: 'ask for it before each use: it is renewed before it ends' }),
      expiresAt: Type.String({ format: 'date-time' })
    },
    {
      $id: 'AccessToken',
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

export const AccessTokenSchema = {
  operationId: 'getAccessToken',
  tags: ['apps'],
  summary: 'The access_token that all instances and all callers share',
  params,
  response
}

export const RenewSchema = {
  operationId: 'renewAccessToken',
  tags: ['apps'],
  summary: 'The access_token to use after WeChat refused one',
  description:
    'For a caller that met 40001, 40014 or 42001. A new token is fetched only where the refused one is still the one ' +
    'held; after any other the answer is the token that is held now.',
  params,
  body: Type.Object(
    {
      accessToken: Type.String({
        minLength: 1,
        maxLength: 1024,
        description: 'the one that WeChat refused'
      })
    },
    {
      additionalProperties: false,
      examples: [{ accessToken: '86_aaQv7Zp0mC1yXw5rT9kLd3sBnHf6uGeJ2iVo8cRqYtPzEkxWlM4' }]
    }
  ),
  response
}
