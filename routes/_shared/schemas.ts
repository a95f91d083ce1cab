/** Schemas that every route composes: the errors to expect, and the fields that mean the same everywhere. */
import { type SchemaOptions, type Static, type TOptional, type TSchema, type TUnsafe, Type } from '@sinclair/typebox'
import { problemsOf } from '../../lib/problem.ts'

/**
 * As Type.Optional, which takes no undefined as a value. In answers it may be one: the serializer leaves out what is
 * undefined.
 */
export const Optional = <T extends TSchema>(schema: T): TOptional<TUnsafe<Static<T> | undefined>> =>
  Type.Optional(Type.Unsafe<Static<T> | undefined>(schema))

/** `enum` is what readers of OpenAPI know best; a union of literals would be `anyOf` with a `const` each. */
export const StringEnum = <const Words extends readonly string[]>(
  words: Words,
  options?: SchemaOptions
): TUnsafe<Words[number]> => Type.Unsafe({ type: 'string', enum: words, ...options })

/** The error answers of a route, with the codes to expect. */
export const problems = problemsOf

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

export const INTERNAL_PROBLEMS = ['TOKEN_MISSING', 'TOKEN_INVALID', 'KEY_SCOPE', 'REDIS_UNAVAILABLE'] as const

/** ISO 8601 in UTC, as `isoTime` writes it. */
export const Time = Type.String({ format: 'date-time' })
export const isoTime = (milliseconds: number): string => new Date(milliseconds).toISOString()

export const Appid = Type.String({
  pattern: '^wx[0-9a-zA-Z]{16}$',
  description: 'of the mini-program',
  examples: ['wx0123456789abcdef']
})
export const Openid = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[\\w-]+$',
  description: 'the user in this mini-program',
  examples: ['oZNnE1nCIQif3LUPeKGGo3ey12WG']
})

/** What login and refresh give. */
export const IssuedTokens = Type.Object(
  {
    token: Type.String({ description: 'send it as Authorization: Bearer <token>' }),
    tokenType: Type.Literal('Bearer'),
    expiresIn: Type.Integer({ description: 'seconds' }),
    refreshToken: Type.String({ description: 'works once, for the next token' }),
    refreshExpiresIn: Type.Integer({ description: 'seconds' }),
    openid: Openid,
    unionid: Optional(Type.String())
  },
  {
    $id: 'TokenAnswer',
    examples: [
      {
        token: 'eyJhbGciOiJFUzI1NiIsImtpZCI6Ik5oIn0.eyJzdWIiOiJvWk5uRTFuQ0lRIn0.c2lnbmF0dXJl',
        tokenType: 'Bearer',
        expiresIn: 900,
        refreshToken: 'd3gwMTIzNDU2Nzg5YWJjZGVmfG9aTm5FMW5DSVE.c2lnbmF0dXJl',
        refreshExpiresIn: 2592000,
        openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
        unionid: 'o6_bmasdasdsad6_2sgVt7hMZOPfL'
      }
    ]
  }
)

/** For calls that need nothing said; an empty object is what some clients send all the same. */
export const NoBody = Type.Optional(
  Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false, examples: [{}] })])
)
