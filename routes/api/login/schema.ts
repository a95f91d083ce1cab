import { Type } from '@sinclair/typebox'
import { Appid, IssuedTokens, problems, WECHAT_PROBLEMS } from '../../_shared/schemas.ts'

export const LoginSchema = {
  operationId: 'exchangeLoginCode',
  tags: ['mini-program'],
  summary: 'Exchange a wx.login code for tokens',
  body: Type.Object(
    {
      code: Type.String({ minLength: 1, maxLength: 128, description: 'from wx.login, single use' }),
      appid: Type.Optional(Appid)
    },
    {
      examples: [
        { code: '0a3RYe000gvF1S1mNu000XhSiM0RYe0W' },
        { code: '0a3RYe000gvF1S1mNu000XhSiM0RYe0W', appid: 'wx0123456789abcdef' }
      ]
    }
  ),
  response: {
    200: IssuedTokens,
    ...problems('APP_UNKNOWN', 'CODE_INVALID', 'CODE_USED', 'USER_BLOCKED', 'REDIS_UNAVAILABLE', ...WECHAT_PROBLEMS)
  }
}
