/** What may stand in a label: for each a list that is known before the first request, and one word for all else. */
import { STATUS_CODES } from 'node:http'
import { errorCodes } from 'fastify'
import { CALLBACK_REASONS } from '../../lib/callbacks/model.ts'
import { ERRORS } from '../../lib/errors.ts'
import { ERR_CODES_V2 } from '../../lib/pay/v2/errors.ts'
import { ERROR_CODES_V3 } from '../../lib/pay/v3/errors.ts'
import { KEPT_SESSION_KEYS } from '../../lib/sessions/key-history.ts'
import { KNOWN_ERRCODES } from '../../lib/wechat/errcodes.ts'

type Bound = (value: string | number | undefined) => string

/** The value itself where it is one of `known`, else `rest`. */
export function among(known: Iterable<string | number>, rest: string): Bound {
  const texts = new Map<string | number | undefined, string>()
  for (const value of known) for (const spelling of [value, String(value)]) texts.set(spelling, String(value))
  return (value) => texts.get(value) ?? rest
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Requests to WeChat that are ours, by the last part of their path; what the merchant's backend passes on is one. */
export const UPSTREAM_APIS = [
  ...['passthrough', 'jscode2session', 'stable_token', 'getuserphonenumber', 'checksession', 'resetusersessionkey'],
  ...['unifiedorder', 'orderquery', 'closeorder', 'refund', 'refundquery', 'downloadbill', 'downloadfundflow'],
  ...['v3-prepay', 'v3-query', 'v3-close', 'v3-refund', 'v3-refund-query', 'v3-bill', 'v3-bill-file'],
  'v3-certificates'
]

/** What WeChat Pay says where it does not say why. */
const PAY_FAILED = 'FAIL'

export const boundMethod = among(METHODS, 'other')
export const boundStatus = among(Object.keys(STATUS_CODES).map(Number), 'other')
export const boundApi = among(UPSTREAM_APIS, 'other')
export const boundOutcome = among(
  ['ok', PAY_FAILED, ...Object.keys(ERRORS), ...KNOWN_ERRCODES, ...ERR_CODES_V2.keys(), ...ERROR_CODES_V3],
  'other'
)
export const boundCode = among([...Object.keys(ERRORS), ...Object.keys(errorCodes)], 'other')
export const boundReason = among(CALLBACK_REASONS, '')
export const boundPosition = among(Array(KEPT_SESSION_KEYS).keys(), 'none')
