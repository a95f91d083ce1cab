/** Checks the JSON of an APIv3 request, and says where it is wrong. */
import { FormatRegistry, type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { parseRfc3339 } from '../wire/time.ts'
import { V3Refused } from './pay-v3.ts'

FormatRegistry.Set('wechatpay-time', (text) => parseRfc3339(text) !== undefined)

/** Characters, of at most three bytes each: WeChat Pay stores no emoji. */
export const Text = (maxLength: number, options: { minLength?: number; pattern?: string } = {}) =>
  Type.String({ minLength: 1, pattern: '^[\\u0000-\\ud7ff\\ue000-\\uffff]*$', maxLength, ...options })

export const OutTradeNo = Text(32, { pattern: '^[0-9A-Za-z_|*-]{6,32}$' })
export const Fen = Type.Integer({ minimum: 1, maximum: 1_000_000_000 })
/** https at WeChat; http too here, since a sandbox has no public name. No query in either. */
export const NotifyUrl = Text(255, { pattern: '^https?://[^\\s?#]+$' })
export const Time = Type.String({ format: 'wechatpay-time' })

/** Fields that the schema does not name are let through. Throws V3Refused PARAM_ERROR. */
export function checkBody<S extends TSchema>(schema: S, body: unknown): Static<S> {
  const error = Value.Errors(schema, body).First()
  if (error === undefined) return body as Static<S>
  throw new V3Refused('PARAM_ERROR', `参数错误:${error.path}`, {
    field: error.path,
    issue: error.message,
    location: 'body'
  })
}
