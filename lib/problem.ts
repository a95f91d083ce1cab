/** The shape of every refusal, as a schema. */
import { type TObject, Type } from '@sinclair/typebox'
import type { ErrorCode } from './errors.ts'

const WechatVerdict = Type.Object(
  {
    errcode: Type.Optional(Type.Integer({ description: 'of the mini-program platform' })),
    errmsg: Type.Optional(Type.String()),
    rid: Type.Optional(Type.String({ description: 'look it up at WeChat within 7 days' })),
    code: Type.Optional(Type.String({ description: 'of WeChat Pay' })),
    message: Type.Optional(Type.String())
  },
  { $id: 'WechatVerdict', description: 'what WeChat itself answered' }
)

const Problem = Type.Object(
  {
    statusCode: Type.Integer(),
    code: Type.String({ description: 'stable; decide by this' }),
    error: Type.String(),
    message: Type.String({ description: 'what to do next' }),
    requestId: Type.String(),
    wechat: Type.Optional(WechatVerdict)
  },
  { $id: 'Problem' }
)

/**
 * The error answers of a route, with the codes to expect. `x-codes` is for the OpenAPI document, which has a meaning
 * and an example for each (lib/openapi/refusals.ts).
 */
export const problemsOf = (...codes: ErrorCode[]): Record<string, TObject> => ({
  '4xx': { ...Problem, 'x-codes': codes },
  '5xx': Problem
})
