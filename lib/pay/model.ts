/**
 * What both APIs of WeChat Pay share: orders, refunds and bills in one shape (fen, ISO 8601 UTC, APIv3's words), and
 * the events of them.
 */
import type { Readable } from 'node:stream'
import type { Callback, CallbackReason, Channel } from '../callbacks/model.ts'
import { ServiceError } from '../errors.ts'
import type { Event } from '../events/model.ts'
import type { Merchant } from '../settings/model.ts'

export type ApiName = 'v2' | 'v3'

/** Paid is SUCCESS or REFUND. The last three come with payments by code only. */
export const ORDER_STATES = ['SUCCESS', 'REFUND', 'NOTPAY', 'CLOSED', 'REVOKED', 'USERPAYING', 'PAYERROR'] as const
export type OrderState = (typeof ORDER_STATES)[number]

/** SUCCESS and CLOSED are final; ABNORMAL may still become SUCCESS. */
export const REFUND_STATES = ['SUCCESS', 'CLOSED', 'ABNORMAL', 'PROCESSING'] as const
export type RefundState = (typeof REFUND_STATES)[number]

/** Money moved: WeChat calls a paid order REFUND as soon as a part of it is on its way back. */
export const isPaid = (state: OrderState | undefined): boolean => state === 'SUCCESS' || state === 'REFUND'

/** Nothing more will become of it. */
export const isFinal = (state: RefundState): boolean => state === 'SUCCESS' || state === 'CLOSED'

/** What an order was asked for with. */
export interface OrderRecord {
  api: ApiName
  appid: string
  mchid: string
  outTradeNo: string
  openid: string
  totalFen: number
  currency: string
  description: string
  attach?: string
  /** ISO 8601. */
  timeExpire?: string
  /** Unix seconds. */
  createdAt: number
}

/** What a refund was asked for with. */
export interface RefundRecord extends RefundRequest {
  api: ApiName
  mchid: string
  /** Unix seconds. */
  createdAt: number
}

/** Fen. The payer may have paid less, by coupons. */
export interface OrderAmount {
  total: number
  payerTotal: number | undefined
  currency: string
}

/** By our record, which does not know what the payer paid. */
export const recordedAmount = ({ totalFen, currency }: OrderRecord): OrderAmount => ({
  total: totalFen,
  payerTotal: undefined,
  currency
})

/** An order as WeChat has it now. An unpaid one has neither transactionId nor openid. */
export interface OrderStatus {
  api: ApiName
  appid: string
  mchid: string
  outTradeNo: string
  transactionId: string | undefined
  state: OrderState
  amount: OrderAmount | undefined
  openid: string | undefined
  successTime: string | undefined
  attach: string | undefined
  bankType: string | undefined
  /** WeChat's fields as they came. */
  raw: Readonly<Record<string, unknown>>
}

/** What wx.requestPayment needs. */
export interface PayParams {
  timeStamp: string
  nonceStr: string
  package: string
  signType: 'MD5' | 'HMAC-SHA256' | 'RSA'
  paySign: string
}

export type PrepayOutcome =
  | { status: 'made'; prepayId: string; payParams: PayParams }
  /** `mayExist`: WeChat may have made the order of this call, or of an equal one before it. */
  | { status: 'refused'; error: ServiceError; mayExist: boolean }

export interface RefundRequest {
  /** One of the two says which payment is given back. */
  outTradeNo?: string
  transactionId?: string
  outRefundNo: string
  /** Fen to give back, and fen of the order. */
  amount: number
  total: number
  reason?: string
}

export interface RefundStatus {
  api: ApiName
  mchid: string
  outRefundNo: string
  refundId: string
  outTradeNo: string
  transactionId: string
  state: RefundState
  amount: { total: number; refund: number }
  successTime: string | undefined
  raw: Readonly<Record<string, unknown>>
}

/** What one call for a refund came to. */
export type RefundTry =
  | { status: 'made'; refund: RefundStatus }
  | {
      status: 'refused'
      error: ServiceError
      /** WeChat may have made the refund by this very call; undefined: the error's code says it. */
      mayBeDone?: boolean
      /** By this call or one before it: the answer does not say. */
      queryFirst: boolean
    }

export interface Bill {
  /**
   * CSV as WeChat wrote it, UTF-8. It ends with an error where its hash is not the one announced: then nothing of it
   * counts.
   */
  csv: Readable
}

export interface BillRequest {
  kind: 'trade' | 'fundflow'
  /** YYYY-MM-DD, of Beijing. */
  date: string
}

/**
 * Everything throws ServiceError: NOT_FOUND (no such order, refund or bill), PAY_REJECTED, and the WECHAT_* codes. What
 * is idempotent by its number is repeated inside where WeChat asks for it; a refund is tried once.
 */
export interface PayApi {
  prepay(merchant: Merchant, order: OrderRecord): Promise<PrepayOutcome>
  query(merchant: Merchant, outTradeNo: string): Promise<OrderStatus>
  close(merchant: Merchant, outTradeNo: string): Promise<void>
  refund(merchant: Merchant, request: RefundRequest): Promise<RefundTry>
  queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus>
  bill(merchant: Merchant, request: BillRequest): Promise<Bill>
}

/** Both of them. Which one is asked is for the order or refund to say. */
export type PayApis = Readonly<Record<ApiName, PayApi>>

/** What our caller is answered where WeChat has nothing, by either API. */
export const NO_ORDER = { message: 'WeChat Pay knows no such order' }
export const NO_REFUND = { message: 'WeChat Pay knows no such refund' }
export const NO_BILL = { message: 'There is no bill of this day' }
/** A bill is made in the morning (Beijing); nobody need ask again every second. */
export const BILL_IN_THE_MAKING = {
  message: 'WeChat is still making this bill; try again after the time in Retry-After',
  retryAfterSeconds: 600
}

/** undefined in place of NOT_FOUND; every other failure is thrown on. */
export async function ifFound<T>(query: Promise<T>): Promise<T | undefined> {
  try {
    return await query
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/** Up to 32 digits today. It becomes part of names, so it must not hold what separates those. */
const WECHAT_ID = /^[\w-]{1,64}$/

/** Whether a transaction_id or refund_id can be part of an event's id. */
export const isWechatId = (text: string): boolean => WECHAT_ID.test(text)

/** A payment with everything that its event says. */
export interface Payment extends Omit<OrderStatus, 'state'> {
  transactionId: string
  amount: OrderAmount
  openid: string
  successTime: string
}

/** A refund that came to something. */
export type Refund = Omit<RefundStatus, 'state'> & { state: EventfulState }
export type EventfulState = Exclude<RefundState, 'PROCESSING'>

/** The webhook-id of what became of a refund: each state is an event of its own, in v3's words. */
export const refundEventId = (mchid: string, refundId: string, state: EventfulState): string =>
  `refund_${mchid}_${refundId}_${state}`

/**
 * The same event whether WeChat notifies of the payment, by either API, or is asked. `orderKnown`: it was made here.
 */
export function paymentEvent(payment: Payment, orderKnown: boolean): Event {
  const { api, appid, mchid, openid, outTradeNo, transactionId, amount, successTime, attach, bankType, raw } = payment
  const ids = { api, appid, mchid, openid, outTradeNo, transactionId }
  return {
    id: `pay_${mchid}_${transactionId}`,
    type: 'payment.succeeded',
    timestamp: successTime,
    data: { ...ids, amount, successTime, attach, bankType, orderKnown, raw },
    content: [appid, outTradeNo, amount.total, amount.currency].join(' ')
  }
}

const REFUND_TYPES: Readonly<Record<EventfulState, string>> = {
  SUCCESS: 'refund.succeeded',
  CLOSED: 'refund.closed',
  ABNORMAL: 'refund.abnormal'
}

/** `notifiedAt` (ISO 8601 UTC): when WeChat said it, where it does not say when it happened. */
export function refundEvent(refund: Refund, notifiedAt: string): Event {
  const { api, mchid, outTradeNo, transactionId, outRefundNo, refundId, state, amount, successTime, raw } = refund
  const { total, refund: given } = amount
  const ids = { api, mchid, outTradeNo, transactionId, outRefundNo, refundId }
  return {
    id: refundEventId(mchid, refundId, state),
    type: REFUND_TYPES[state],
    timestamp: successTime ?? notifiedAt,
    data: { ...ids, amount: { total, refund: given }, successTime, raw },
    content: [outTradeNo, outRefundNo, given, total].join(' ')
  }
}

/** What a message says of itself. What it does not say is not compared. */
export interface Said {
  mchid: string
  appid?: string | undefined
  /** Fen, of the order: coupons may leave less for the payer. */
  total?: number | undefined
  currency?: string | undefined
}

/** A refund of which nobody signed the notice: WeChat has to be asked whether it says the same. */
export interface UnsignedRefund extends RefundStatus {
  appid: string
}

/** What a protocol reads in a callback: nothing of it is compared with our settings and records yet. */
export type PayNotice =
  /** Nothing proves that WeChat sent it. */
  | { status: 'refused'; reason: CallbackReason }
  /** Authentic, but `reason`, the name of a field, is absent or not what it should be. */
  | { status: 'malformed'; reason: string }
  /** Authentic, and no event. */
  | { status: 'not-success'; said: Said }
  /** Of a kind that is not ours. */
  | { status: 'other' }
  | {
      status: 'event'
      said: Said
      outTradeNo: string
      /** `orderKnown`: it was made here. `now` is ISO 8601, UTC. */
      event: (orderKnown: boolean, now: string) => Event
    }
  | { status: 'unsigned-refund'; refund: UnsignedRefund }

/** How a protocol reads its callbacks, and answers them. */
export interface NoticeReader extends Omit<Channel, 'read' | 'check'> {
  /** undefined: the merchant has no keys for it. */
  read(
    merchant: Merchant,
    callback: Callback
  ): Promise<{ notice: PayNotice; log?: Readonly<Record<string, unknown>> } | undefined>
}
