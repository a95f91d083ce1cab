/** Making an order by APIv2, and signing what the phone needs to pay it (docs/wechat/pay.md A3, A4). */
import { makeNonce } from '../../util/ids.ts'
import type { OrderRecord, PrepayOutcome } from '../model.ts'
import { type CallV2, SIGN_TYPE } from './call.ts'
import { asServiceErrorV2, type FailureV2 } from './errors.ts'
import { type PayParamsV2, payParamsV2 } from './pay-params.ts'
import {
  buildUnifiedOrder,
  readUnifiedOrderAnswer,
  UNIFIED_ORDER_ADVICE,
  type UnifiedOrderAdvice,
  type UnifiedOrderAnswer
} from './unified-order.ts'

/** The field is required, but it is the merchant's backend that calls, and it does not say where its user is. */
const PAYER_IP = '127.0.0.1'

/**
 * Refused so, WeChat did not make the order of this call: it has none of the number, or one of other content. After
 * anything else, and a code not listed, it may have made it.
 */
const NOT_MADE: ReadonlySet<UnifiedOrderAdvice | undefined> = new Set([
  'payer',
  'configuration',
  'request',
  'query',
  'new-number'
])

/** The call that makes `order`; WeChat will tell `notifyUrl` what becomes of it. */
export function unifiedOrderCall(order: OrderRecord, notifyUrl: string): CallV2<UnifiedOrderAnswer> {
  const { api: _api, createdAt: _createdAt, ...fields } = order
  return {
    path: '/pay/unifiedorder',
    appid: order.appid,
    build: (signing) => buildUnifiedOrder({ ...fields, nonceStr: makeNonce(), clientIp: PAYER_IP, notifyUrl }, signing),
    read: readUnifiedOrderAnswer
  }
}

/** After a repetition the first try may have made the order, whatever the second one says. */
export function refusedPrepay(answer: FailureV2, repeated: boolean): PrepayOutcome {
  const advice = answer.status === 'refused' ? UNIFIED_ORDER_ADVICE.get(answer.code) : undefined
  const notMade = answer.status === 'failed' || NOT_MADE.has(advice)
  return { status: 'refused', error: asServiceErrorV2('unifiedorder', answer), mayExist: repeated || !notMade }
}

export function payParamsFor({ appid }: OrderRecord, prepayId: string, key: string, nowMs: number): PayParamsV2 {
  const timeStamp = String(Math.floor(nowMs / 1000))
  return payParamsV2({ appid, prepayId, key, signType: SIGN_TYPE, timeStamp, nonceStr: makeNonce() })
}
