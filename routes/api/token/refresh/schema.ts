import { Type } from '@sinclair/typebox'
import { IssuedTokens, problems } from '../../../_shared/schemas.ts'

export const RefreshSchema = {
  operationId: 'refreshTokens',
  tags: ['mini-program'],
  summary: 'Exchange a refresh token for new tokens',
  body: Type.Object(
    {
      refreshToken: Type.String({
        minLength: 1,
        maxLength: 1024,
        description: 'from login or the last refresh; works once'
      })
    },
    {
      examples: [{ refreshToken: 'd3gwMTIzNDU2Nzg5YWJjZGVmfG9aTm5FMW5DSVE.c2lnbmF0dXJl' }]
    }
  ),
  response: {
    200: IssuedTokens,
    ...problems('REFRESH_INVALID', 'REFRESH_EXPIRED', 'REFRESH_REUSED', 'SESSION_REVOKED', 'REDIS_UNAVAILABLE')
  }
}
