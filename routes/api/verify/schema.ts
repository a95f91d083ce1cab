import { Type } from '@sinclair/typebox'
import { Appid, Openid, problems, SESSION_PROBLEMS } from '../../_shared/schemas.ts'

export const VerifySchema = {
  operationId: 'verifySession',
  tags: ['mini-program'],
  summary: "For a proxy's forward_auth or auth_request: who is logged in, as headers",
  // Other members are left alone: a proxy may add the query of the request that it asks about.
  querystring: Type.Object({
    // Whatever is no appid is no app of the token: 401 is what a proxy understands.
    appid: Type.Optional(Type.String({ description: 'the app whose users alone are let through' }))
  }),
  response: {
    200: {
      ...Type.Object({ active: Type.Literal(true) }, { examples: [{ active: true }] }),
      headers: {
        'x-wx-appid': Appid,
        'x-wx-openid': Openid,
        'x-wx-unionid': Type.String({ description: 'when known' }),
        'x-wx-session': Type.String({ description: 'id of the session' })
      }
    },
    ...problems(...SESSION_PROBLEMS)
  }
}
