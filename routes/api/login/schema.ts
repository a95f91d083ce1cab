import { Type } from '@sinclair/typebox'
import { Appid, Openid, problems, WECHAT_PROBLEMS } from '../../schemas.ts'

export const LoginSchema = {
  tags: ['mini-program'],
  summary: 'Exchange a wx.login code for tokens',
  body: Type.Object(
    {
      code: Type.String({ minLength: 1, maxLength: 128, description: 'from wx.login, single use' }),
      appid: Type.Optional(Appid)
    },
    { additionalProperties: false }
  ),
  response: {
    200: Type.Object({
      token: Type.String({ description: 'send it as Authorization: Bearer <token>' }),
      tokenType: Type.Literal('Bearer'),
      expiresIn: Type.Integer({ description: 'seconds' }),
      refreshToken: Type.String(),
      refreshExpiresIn: Type.Integer({ description: 'seconds' }),
      openid: Openid,
      unionid: Type.Optional(Type.String())
    }),
    ...problems('APP_UNKNOWN', 'CODE_INVALID', 'CODE_USED', 'USER_BLOCKED', 'REDIS_UNAVAILABLE', ...WECHAT_PROBLEMS)
  }
}
