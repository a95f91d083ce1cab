import { Type } from '@sinclair/typebox'
import { Appid, Openid, problems, SESSION_PROBLEMS } from '../../schemas.ts'

export const VerifySchema = {
  tags: ['mini-program'],
  summary: "For a proxy's forward_auth or auth_request: who is logged in, as headers",
  response: {
    200: {
      ...Type.Object({ active: Type.Literal(true) }),
      headers: {
        'x-wx-appid': Appid,
        'x-wx-openid': Openid,
        'x-wx-unionid': Type.String({ description: 'when known' }),
        'x-wx-session': Type.String()
      }
    },
    ...problems(...SESSION_PROBLEMS)
  }
}
