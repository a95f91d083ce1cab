/** The shape of every refusal, as a schema. */
import { type TObject, Type } from '@sinclair/typebox'
import { ERRORS, type ErrorCode } from './errors.ts'

const WechatVerdict = Type.Object(
  {
    errcode: Type.Optional(Type.Integer({ description: 'of the mini-program platform' })),
    errmsg: Type.Optional(Type.String()),
    rid: Type.Optional(Type.String({ description: 'look it up at WeChat within 7 days' })),
    code: Type.Optional(Type.String({ description: 'of WeChat Pay' })),
    message: Type.Optional(Type.String())
  },
  { title: 'WechatVerdict', description: 'what WeChat itself answered' }
)

export const Problem = Type.Object(
  {
    statusCode: Type.Integer(),
    code: Type.String({ description: 'stable; decide by this' }),
    error: Type.String(),
    message: Type.String({ description: 'what to do next' }),
    requestId: Type.String(),
    wechat: Type.Optional(WechatVerdict)
  },
  { title: 'Problem' }
)

/**
 * The error answers of a route, one entry for each status, naming the codes to expect; 4xx and 5xx catch what any route may answer.
 * `x-codes` is for the OpenAPI document, which has a meaning and an example for each (lib/openapi/refusals.ts).
 */
export function problems(...codes: ErrorCode[]): Record<string, TObject> {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of codes) byStatus.set(ERRORS[code][0], [...(byStatus.get(ERRORS[code][0]) ?? []), code])
  const named = [...byStatus].map(([status, some]) => [String(status), { ...Problem, 'x-codes': some }])
  const other = { ...Problem, 'x-codes': [] }
  return { ...Object.fromEntries(named), '4xx': other, '5xx': other }
}
