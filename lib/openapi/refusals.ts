/** The refusals of an operation as OpenAPI shows them: for each status what it means, and a body for every code. */
import { STATUS_CODES } from 'node:http'
import { ERRORS, JSON_WANTED, type WechatVerdict } from '../errors.ts'
import type { Schema } from './refer.ts'

/** What Fastify refuses by itself, the first wherever a route has schemas, the others where it takes a body. */
const OF_FASTIFY = {
  FST_ERR_VALIDATION: [400, 'The request does not fit; this says which member is wrong, and what it has to be'],
  FST_ERR_CTP_INVALID_JSON_BODY: [400, "Body is not valid JSON but content-type is set to 'application/json'"],
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'Request body is too large'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, JSON_WANTED]
} as const

const REFUSALS = { ...OF_FASTIFY, ...ERRORS }
export type RefusalCode = keyof typeof REFUSALS

/** The codes of Fastify's own refusals, for a route with these schemas. */
export function codesOfFastify({ params, querystring, body }: Schema): RefusalCode[] {
  if (body !== undefined) return Object.keys(OF_FASTIFY) as RefusalCode[]
  return (params ?? querystring) === undefined ? [] : ['FST_ERR_VALIDATION']
}

type Verdicts = Partial<Record<RefusalCode, WechatVerdict>>

const OF_PLATFORM: Verdicts = {
  CODE_INVALID: { errcode: 40029, errmsg: 'invalid code' },
  CODE_USED: { errcode: 40163, errmsg: 'code been used' },
  USER_BLOCKED: { errcode: 40226, errmsg: 'code blocked' },
  WECHAT_RATE_LIMITED: { errcode: 45011, errmsg: 'api minute-quota reach limit' },
  WECHAT_BUSY: { errcode: -1, errmsg: 'system error' },
  WECHAT_REJECTED: { errcode: 48001, errmsg: 'api unauthorized' },
  PAY_REJECTED: { code: 'ORDERPAID', message: '该订单已支付' }
}

/** Where WeChat Pay answers with words of its own. */
const OF_PAY: Verdicts = {
  WECHAT_BUSY: { code: 'SYSTEMERROR', message: '系统错误' },
  WECHAT_RATE_LIMITED: { code: 'FREQUENCY_LIMITED', message: '频率限制' },
  WECHAT_REJECTED: { code: 'FAIL', message: '签名错误' }
}

function exampleOf(code: RefusalCode, wechat: WechatVerdict | undefined) {
  const [statusCode, message] = REFUSALS[code]
  return { value: { statusCode, code, error: STATUS_CODES[statusCode], message, requestId: 'lK9oLDoQ-5', wechat } }
}

/** A body for every code, for the components of the document. */
export const EXAMPLES = Object.fromEntries(
  (Object.keys(REFUSALS) as RefusalCode[]).map((code) => [code, exampleOf(code, OF_PLATFORM[code])])
)

const RETRY_AFTER = { 'retry-after': { type: 'integer', description: 'seconds' } }

/** The answers by status: shape, meaning, and an example for each code. 429 and 503 say when to come again. */
export function describeRefusals(codes: RefusalCode[], isOfPay: boolean, schema: Schema): Record<string, Schema> {
  const answers = [...Map.groupBy(new Set(codes), (code) => REFUSALS[code][0])].map(([status, some]) => {
    const description = some.map((code) => `\`${code}\`: ${REFUSALS[code][1]}`).join('\n\n')
    const examples = some.map((code) => {
      const verdict = isOfPay ? OF_PAY[code] : undefined
      return [code, verdict ? exampleOf(code, verdict) : { $ref: `#/components/examples/${code}` }]
    })
    const content = { 'application/json': { schema, examples: Object.fromEntries(examples) } }
    return [status, { description, headers: [429, 503].includes(status) ? RETRY_AFTER : undefined, content }]
  })
  return Object.fromEntries(answers)
}
