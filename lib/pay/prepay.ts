/** Orders for wx.requestPayment: recorded here first, then made at WeChat, then signed for the phone. */
import { randomBytes } from 'node:crypto'
import { type ErrorCode, ServiceError } from '../errors.ts'
import { type Meters, observedCall } from '../metrics/meters.ts'
import type { Merchant } from '../settings.ts'
import type { Upstream } from '../wechat/http.ts'
import type { Merchants } from './merchants.ts'
import { type OrderRecord, type Orders, sameOrder } from './orders.ts'
import type { BadV2, FailedV2, RefusedV2 } from './v2/answer.ts'
import { type PayParamsV2, payParamsV2 } from './v2/pay-params.ts'
import {
  buildUnifiedOrder,
  readUnifiedOrderAnswer,
  UNIFIED_ORDER_ADVICE,
  type UnifiedOrderAdvice,
  type UnifiedOrderAnswer
} from './v2/unified-order.ts'

export interface PrepayRequest {
  openid: string
  outTradeNo: string
  description: string
  /** Fen. */
  amount: number
  appid?: string
  mchid?: string
  attach?: string
  /** ISO 8601 with a zone. */
  timeExpire?: string
  api?: 'v2' | 'v3'
}

export interface Prepaid {
  prepayId: string
  payParams: PayParamsV2
}

export interface Prepay {
  /**
   * The same call again gives the same order; another amount, app, user or text under the same number is refused.
   * Throws APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. After WECHAT_TIMEOUT or WECHAT_BUSY the same call is safe.
   */
  create(request: PrepayRequest): Promise<Prepaid>
}

export interface PrepayOptions {
  merchants: Merchants
  orders: Orders
  upstream: Upstream
  meters: Pick<Meters, 'upstreamCall'>
  /** Where WeChat reaches us, without a trailing slash. */
  publicUrl: string
  /** Milliseconds since 1970. */
  now: () => number
}

/**
 * Refused so, WeChat did not make the order of this call: it has none of the number, or one of other content. After anything
 * else, and a code not listed, it may have made it.
 */
const NOT_MADE: ReadonlySet<UnifiedOrderAdvice | undefined> = new Set([
  'payer',
  'configuration',
  'request',
  'query',
  'new-number'
])
const SIGN_TYPE = 'HMAC-SHA256'
/** The field is required, but it is the merchant's backend that calls, and it does not say where its user is. */
const PAYER_IP = '127.0.0.1'

const nonce = () => randomBytes(16).toString('hex')

export function createPrepay({ merchants, orders, upstream, meters, publicUrl, now }: PrepayOptions): Prepay {
  async function send(order: OrderRecord, key: string): Promise<UnifiedOrderAnswer> {
    const { api: _api, createdAt: _createdAt, ...fields } = order
    const { appid, mchid } = order
    const notifyUrl = `${publicUrl}/wechat/pay/v2/${mchid}/notify`
    const body = buildUnifiedOrder(
      { ...fields, nonceStr: nonce(), clientIp: PAYER_IP, notifyUrl },
      { key, signType: SIGN_TYPE }
    )
    const headers = { 'content-type': 'text/xml; charset=utf-8', 'user-agent': 'wxgate' }
    const ask = async () => {
      const answer = await upstream.send({ method: 'POST', path: '/pay/unifiedorder', headers, body })
      return readUnifiedOrderAnswer(answer.body, { appid, mchid, key })
    }
    return observedCall(meters, 'unifiedorder', ask, outcomeOf)
  }

  /** SYSTEMERROR is WeChat's own fault, and the number makes a repetition harmless (pay.md A11). */
  async function sendPatiently(
    order: OrderRecord,
    key: string
  ): Promise<{ answer: UnifiedOrderAnswer; repeated: boolean }> {
    const answer = await send(order, key)
    const repeated = adviceOf(answer) === 'repeat'
    return { answer: repeated ? await send(order, key) : answer, repeated }
  }

  return {
    async create(request) {
      const { merchant, appid } = merchants.pick(request.mchid, request.appid)
      const key = v2KeyOf(merchant, request.api)
      const wanted = recordOf(request, appid, merchant.mchid, now())
      const { record, fresh } = await orders.remember(wanted)
      if (!sameOrder(record, wanted)) {
        throw new ServiceError('PAY_REJECTED', {
          message: 'This outTradeNo was ordered before with other content; keep that, or take another number'
        })
      }
      const { answer, repeated } = await sendPatiently(record, key)
      if (answer.status === 'ok')
        return { prepayId: answer.prepayId, payParams: paramsFor(record, answer.prepayId, key, now()) }
      // After SYSTEMERROR the first try may have made it, whatever the second one says.
      const notMade = answer.status === 'failed' || NOT_MADE.has(adviceOf(answer))
      if (fresh && !repeated && notMade) await orders.forget(record)
      throw asError(answer)
    }
  }
}

function v2KeyOf({ apiV2Key }: Merchant, api: 'v2' | 'v3' | undefined): string {
  if (apiV2Key !== undefined && api !== 'v3') return apiV2Key
  throw new ServiceError('PAY_REJECTED', {
    message: 'Only orders by api v2, for merchants with an APIv2 key, can be made by this version'
  })
}

function recordOf(
  { openid, outTradeNo, description, amount, attach, timeExpire }: PrepayRequest,
  appid: string,
  mchid: string,
  nowMs: number
): OrderRecord {
  return {
    api: 'v2',
    appid,
    mchid,
    outTradeNo,
    openid,
    totalFen: amount,
    currency: 'CNY',
    description,
    ...(attach && { attach }),
    ...(timeExpire && { timeExpire: new Date(timeExpire).toISOString() }),
    createdAt: Math.floor(nowMs / 1000)
  }
}

function paramsFor({ appid }: OrderRecord, prepayId: string, key: string, nowMs: number): PayParamsV2 {
  const timeStamp = String(Math.floor(nowMs / 1000))
  return payParamsV2({ appid, prepayId, key, signType: SIGN_TYPE, timeStamp, nonceStr: nonce() })
}

/** For the meters: WeChat Pay's own word where it has one. */
function outcomeOf(answer: UnifiedOrderAnswer): string {
  if (answer.status === 'refused') return answer.code
  if (answer.status === 'failed') return 'FAIL'
  return answer.status === 'bad' ? 'WECHAT_BAD_RESPONSE' : 'ok'
}

const adviceOf = (answer: UnifiedOrderAnswer): UnifiedOrderAdvice | undefined =>
  answer.status === 'refused' ? UNIFIED_ORDER_ADVICE.get(answer.code) : undefined

const CODE_BY_ADVICE: Partial<Record<UnifiedOrderAdvice, ErrorCode>> = {
  repeat: 'WECHAT_BUSY',
  configuration: 'WECHAT_CONFIG_INVALID'
}

function asError(answer: RefusedV2 | FailedV2 | BadV2): ServiceError {
  if (answer.status === 'bad')
    return new ServiceError('WECHAT_BAD_RESPONSE', {
      detail: `the answer to unifiedorder is unusable: ${answer.reason}`
    })
  if (answer.status === 'failed') {
    return new ServiceError('WECHAT_REJECTED', {
      wechat: { code: 'FAIL', message: answer.message },
      detail: 'WeChat did not understand unifiedorder: is the APIv2 key right?'
    })
  }
  const advice = UNIFIED_ORDER_ADVICE.get(answer.code)
  const code = (advice && CODE_BY_ADVICE[advice]) ?? 'PAY_REJECTED'
  return new ServiceError(code, {
    wechat: { code: answer.code, message: answer.message },
    detail: `unifiedorder was refused with ${answer.code}`
  })
}
