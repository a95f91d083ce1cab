/** The refusals of an operation as OpenAPI shows them: for each status what it means, and a body for every code. */
import { STATUS_CODES } from 'node:http'
import { ERRORS, type ErrorCode, type WechatVerdict } from '../errors.ts'
import type { Schema } from './schemas.ts'

export interface Refusal {
  status: number
  code: string
  message: string
  wechat?: WechatVerdict
}

const PLATFORM: Partial<Record<ErrorCode, WechatVerdict>> = {
  CODE_INVALID: { errcode: 40029, errmsg: 'invalid code' },
  CODE_USED: { errcode: 40163, errmsg: 'code been used' },
  USER_BLOCKED: { errcode: 40226, errmsg: 'code blocked' },
  WECHAT_RATE_LIMITED: { errcode: 45011, errmsg: 'api minute-quota reach limit' },
  WECHAT_BUSY: { errcode: -1, errmsg: 'system error' },
  WECHAT_REJECTED: { errcode: 48001, errmsg: 'api unauthorized' }
}

const PAY: Partial<Record<ErrorCode, WechatVerdict>> = {
  WECHAT_BUSY: { code: 'SYSTEMERROR', message: '系统错误' },
  WECHAT_RATE_LIMITED: { code: 'FREQUENCY_LIMITED', message: '频率限制' },
  WECHAT_REJECTED: { code: 'FAIL', message: '签名错误' },
  PAY_REJECTED: { code: 'ORDERPAID', message: '该订单已支付' }
}

/** A refusal of ours, with what WeChat may have answered: its platform, or WeChat Pay. */
export function refusalOf(code: ErrorCode, side: 'platform' | 'pay'): Refusal {
  const [status, message] = ERRORS[code]
  const wechat = (side === 'pay' ? PAY : PLATFORM)[code]
  return { status, code, message, ...(wechat && { wechat }) }
}

const BODY_REFUSALS: readonly Refusal[] = [
  {
    status: 400,
    code: 'FST_ERR_CTP_INVALID_JSON_BODY',
    message: "Body is not valid JSON but content-type is set to 'application/json'"
  },
  { status: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE', message: 'Request body is too large' },
  { status: 415, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', message: 'Unsupported Media Type' }
]

interface Judge {
  required?: readonly string[]
  properties?: Record<string, { pattern?: string }>
}

/** What a schema judges in a request, in the order in which Fastify does. */
const JUDGED = ['params', 'body', 'querystring']

/** What Fastify refuses by itself, before any handler, on a route with these schemas. */
export function refusalsOfFastify(schemas: Schema): Refusal[] {
  const where = JUDGED.find((part) => schemas[part] !== undefined)
  if (where === undefined) return []
  const refusal = { status: 400, code: 'FST_ERR_VALIDATION', message: complaint(where, schemas[where] as Judge) }
  return [refusal, ...(schemas.body === undefined ? [] : BODY_REFUSALS)]
}

/** As ajv would put it. */
function complaint(where: string, { required = [], properties = {} }: Judge): string {
  const [missing] = required
  if (missing !== undefined && where !== 'params') return `${where} must have required property '${missing}'`
  const [name, { pattern }] = Object.entries(properties).find(([, part]) => part.pattern !== undefined) ?? ['', {}]
  return pattern === undefined || where === 'body'
    ? `${where} must be object`
    : `${where}/${name} must match pattern "${pattern}"`
}

/** The answers by status: shape, meaning, and an example for each code. 429 and 503 say when to come again. */
export function describeRefusals(refusals: readonly Refusal[], shape: Schema): Record<string, Schema> {
  const byStatus = [...Map.groupBy(refusals, ({ status }) => status)]
  return Object.fromEntries(byStatus.map(([status, some]) => [status, describeStatus(status, some, shape)]))
}

function describeStatus(status: number, refusals: readonly Refusal[], shape: Schema): Schema {
  const examples = Object.fromEntries(refusals.map((refusal) => [refusal.code, { value: bodyOf(refusal) }]))
  return {
    description: refusals.map(({ code, message }) => `\`${code}\`: ${message}`).join('\n\n'),
    ...((status === 429 || status === 503) && { headers: RETRY_AFTER }),
    content: { 'application/json': { schema: shape, examples } }
  }
}

const RETRY_AFTER = { 'retry-after': { type: 'integer', description: 'seconds' } }

const bodyOf = ({ status, code, message, wechat }: Refusal) => ({
  statusCode: status,
  code,
  error: STATUS_CODES[status],
  message,
  requestId: 'lK9oLDoQ-5',
  ...(wechat && { wechat })
})
