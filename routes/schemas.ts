/** Schemas that every route composes: the shape of an error, and the fields that mean the same everywhere. */
import { type TObject, Type } from '@sinclair/typebox'
import { ERRORS, type ErrorCode } from '../lib/errors.ts'

const WechatVerdict = Type.Object(
  {
    errcode: Type.Optional(Type.Integer({ description: 'of the mini-program platform' })),
    errmsg: Type.Optional(Type.String()),
    rid: Type.Optional(Type.String({ description: 'look it up at WeChat within 7 days' })),
    code: Type.Optional(Type.String({ description: 'of WeChat Pay' })),
    message: Type.Optional(Type.String())
  },
  { description: 'what WeChat itself answered' }
)

export const Problem = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String({ description: 'stable; decide by this' }),
  error: Type.String(),
  message: Type.String({ description: 'what to do next' }),
  requestId: Type.String(),
  wechat: Type.Optional(WechatVerdict)
})

/** The error answers of a route, one entry for each status, naming the codes to expect; 4xx and 5xx catch what any route may answer. */
export function problems(...codes: ErrorCode[]): Record<string, TObject> {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of codes) byStatus.set(ERRORS[code][0], [...(byStatus.get(ERRORS[code][0]) ?? []), code])
  const named = [...byStatus].map(([status, some]) => [
    String(status),
    { ...Problem, description: some.map(describe).join('\n') }
  ])
  return { ...Object.fromEntries(named), '4xx': Problem, '5xx': Problem }
}

const describe = (code: ErrorCode): string => `\`${code}\`: ${ERRORS[code][1]}`

export const SESSION_PROBLEMS = [
  'TOKEN_MISSING',
  'TOKEN_INVALID',
  'TOKEN_EXPIRED',
  'SESSION_REVOKED',
  'REDIS_UNAVAILABLE'
] as const

export const WECHAT_PROBLEMS = [
  'WECHAT_RATE_LIMITED',
  'WECHAT_BUSY',
  'WECHAT_CONFIG_INVALID',
  'WECHAT_UNREACHABLE',
  'WECHAT_TIMEOUT',
  'WECHAT_BAD_RESPONSE',
  'WECHAT_REJECTED'
] as const

export const INTERNAL_PROBLEMS = ['TOKEN_MISSING', 'TOKEN_INVALID', 'REDIS_UNAVAILABLE'] as const

export const Appid = Type.String({ pattern: '^wx[0-9a-zA-Z]{16}$', description: 'of the mini-program' })
export const Openid = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[\\w-]+$',
  description: 'the user in this mini-program'
})
/** Base64 as wx gives it, or with its + turned into spaces by form decoding. */
export const Base64 = (maxLength: number) =>
  Type.String({ minLength: 4, maxLength, pattern: '^[A-Za-z0-9+/ ]+={0,2}$' })

/** What login and refresh give. */
export const TokenAnswer = Type.Object({
  token: Type.String({ description: 'send it as Authorization: Bearer <token>' }),
  tokenType: Type.Literal('Bearer'),
  expiresIn: Type.Integer({ description: 'seconds' }),
  refreshToken: Type.String({ description: 'works once, for the next token' }),
  refreshExpiresIn: Type.Integer({ description: 'seconds' }),
  openid: Openid,
  unionid: Type.Optional(Type.String())
})
