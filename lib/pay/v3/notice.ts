/**
 * The APIv3 callback (pay.weixin.qq.com/doc/v3/merchant/4012791902): from verified bytes to a typed fact, and the answer a
 * refused one gets.
 */
import type { KeyObject } from 'node:crypto'
import { FieldReader, isJsonObject, type JsonObject, parseJsonObject } from './fields.ts'
import { type MalformedV3, type PaymentV3, readPaymentV3 } from './payment.ts'
import { type RefundV3, readRefundV3 } from './refund.ts'
import { openResource } from './resource.ts'

/**
 * The same for every refusal, so that it tells a forger nothing. The status decides, never 2xx with this; success is a 204
 * without a body.
 */
export const failReplyV3 = '{"code":"FAIL","message":"失败"}'

/** What every callback says of itself. */
export interface EnvelopeV3 {
  /** WeChat's id of the notification; not for recognising repeats, as it may change. */
  id?: string
  eventType: string
  /** ISO 8601, UTC. */
  createTime?: string
}

/** An authentic notice that is no event: a payment whose trade_state, or a refund whose refund_status, is this one. */
export interface NotSuccessV3 {
  mchid: string
  /** Refunds name none. */
  appid?: string
  outTradeNo?: string
  state: string
}

export type RefundNoticeV3 = RefundV3 & { mchid: string; state: 'SUCCESS' | 'CLOSED' | 'ABNORMAL' }

export type NoticeV3 =
  | { status: 'payment'; envelope: EnvelopeV3; payment: PaymentV3 }
  | { status: 'refund'; envelope: EnvelopeV3; refund: RefundNoticeV3 }
  | { status: 'not-success'; envelope: EnvelopeV3; notice: NotSuccessV3 }
  /** An event type that is none of ours. */
  | { status: 'other'; envelope: EnvelopeV3; raw: JsonObject }
  /** The resource does not open under our APIv3 key, or is sealed with another algorithm. */
  | { status: 'unopenable'; envelope: EnvelopeV3 }
  /** Not the JSON it should be; `reason` is the place of the fault: `body`, `event_type`, `resource`, or a field of the resource. */
  | MalformedV3

const REFUND_STATE_OF_EVENT = {
  'REFUND.SUCCESS': 'SUCCESS',
  'REFUND.CLOSED': 'CLOSED',
  'REFUND.ABNORMAL': 'ABNORMAL'
} as const

type RefundEventType = keyof typeof REFUND_STATE_OF_EVENT

/** Reads a callback that `verifyV3` has verified. Nobody vouches for the bytes otherwise. */
export function readNoticeV3(body: Buffer, apiV3Key: KeyObject): NoticeV3 {
  const json = parseJsonObject(body)
  if (json === undefined) return malformed('body')
  const fields = new FieldReader(json)
  const envelope = readEnvelope(fields)
  if (fields.fault !== undefined) return malformed(fields.fault)
  if (!isJsonObject(json.resource)) return malformed('resource')
  const opened = openResource(json.resource, apiV3Key)
  if (opened === undefined) return { status: 'unopenable', envelope }
  const raw = parseJsonObject(opened)
  return raw === undefined ? malformed('resource') : readResource(envelope, raw)
}

function readEnvelope(fields: FieldReader): EnvelopeV3 {
  return {
    eventType: fields.text('event_type'),
    ...(fields.has('id') && { id: fields.text('id') }),
    ...(fields.has('create_time') && { createTime: fields.time('create_time') })
  }
}

function readResource(envelope: EnvelopeV3, raw: JsonObject): NoticeV3 {
  const { eventType } = envelope
  if (eventType === 'TRANSACTION.SUCCESS') return readPaymentNotice(envelope, raw)
  return isRefundEvent(eventType) ? readRefundNotice(envelope, eventType, raw) : { status: 'other', envelope, raw }
}

const isRefundEvent = (eventType: string): eventType is RefundEventType =>
  Object.hasOwn(REFUND_STATE_OF_EVENT, eventType)

function readPaymentNotice(envelope: EnvelopeV3, raw: JsonObject): NoticeV3 {
  const fields = new FieldReader(raw)
  const state = fields.text('trade_state')
  const mchid = fields.text('mchid')
  const appid = fields.text('appid')
  if (fields.fault !== undefined) return malformed(fields.fault)
  if (state !== 'SUCCESS')
    return { status: 'not-success', envelope, notice: { mchid, appid, ...readOrderNumber(fields), state } }
  const read = readPaymentV3(raw)
  return read.status === 'malformed' ? read : { ...read, envelope }
}

/** A state that contradicts the event type is a fault; only PROCESSING may come with any, and says nothing new. */
function readRefundNotice(envelope: EnvelopeV3, eventType: RefundEventType, raw: JsonObject): NoticeV3 {
  const fields = new FieldReader(raw)
  const mchid = fields.text('mchid')
  if (fields.fault !== undefined) return malformed(fields.fault)
  const read = readRefundV3(raw, 'refund_status')
  if (read.status === 'malformed') return read
  const { state, outTradeNo } = read.refund
  if (state === 'PROCESSING') return { status: 'not-success', envelope, notice: { mchid, outTradeNo, state } }
  if (state !== REFUND_STATE_OF_EVENT[eventType]) return malformed('refund_status')
  return { status: 'refund', envelope, refund: { ...read.refund, mchid, state } }
}

const readOrderNumber = (fields: FieldReader) =>
  fields.has('out_trade_no') ? { outTradeNo: fields.text('out_trade_no') } : {}

const malformed = (reason: string): MalformedV3 => ({ status: 'malformed', reason })
