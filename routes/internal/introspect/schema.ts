import { Type } from '@sinclair/typebox'
import { Appid, INTERNAL_PROBLEMS, Openid, Optional, problems } from '../../_shared/schemas.ts'

const Active = Type.Object({
  active: Type.Literal(true),
  sub: Openid,
  aud: Appid,
  iss: Type.String(),
  sid: Type.String({ description: 'the session' }),
  jti: Type.String(),
  iat: Type.Integer({ description: 'Unix seconds' }),
  exp: Type.Integer({ description: 'Unix seconds' }),
  unionid: Optional(Type.String())
})

const Inactive = Type.Object({ active: Type.Literal(false) })

const TOKEN = 'eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL3d4LmV4YW1wbGUuY29tIn0.c2lnbmF0dXJl'

const EXAMPLE = {
  active: true,
  sub: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
  aud: 'wx0123456789abcdef',
  iss: 'https://wx.example.com',
  sid: 'Q3cYpB0nT4mJ8xk1d2VfZw',
  jti: 'b7Yk2mZ0QpW1sXcD',
  iat: 1795435200,
  exp: 1795436100
}

export const IntrospectSchema = {
  operationId: 'introspectToken',
  tags: ['tokens'],
  summary: 'Whether a token is good now, and whose it is (RFC 7662)',
  description:
    'As JSON or as a form. A token that expired, whose session has ended, or that is none of ours is not active.',
  consumes: ['application/json', 'application/x-www-form-urlencoded'],
  body: Type.Object(
    {
      token: Type.String({ minLength: 1, maxLength: 8192 }),
      token_type_hint: Type.Optional(
        Type.String({ description: 'taken, and not needed: only access tokens are active' })
      )
    },
    { examples: [{ token: TOKEN, token_type_hint: 'access_token' }] }
  ),
  response: {
    200: Type.Union([Active, Inactive], { examples: [EXAMPLE, { active: false }] }),
    ...problems(...INTERNAL_PROBLEMS)
  }
}
