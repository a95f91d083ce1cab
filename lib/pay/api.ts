/** What is asked of WeChat Pay, in one shape for both of its APIs: fen, ISO 8601 UTC, and the states in APIv3's words. */
import type { Readable } from 'node:stream'
import type { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings.ts'
import type { OrderRecord } from './orders.ts'
import type { OrderState, RefundState } from './v3/states.ts'

export type ApiName = 'v2' | 'v3'

/** An order as WeChat has it now. An unpaid one has neither transactionId nor openid. */
export interface OrderStatus {
  api: ApiName
  appid: string
  mchid: string
  outTradeNo: string
  transactionId?: string
  state: OrderState
  amount?: { total: number; payerTotal?: number; currency: string }
  openid?: string
  successTime?: string
  attach?: string
  bankType?: string
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
  successTime?: string
  raw: Readonly<Record<string, unknown>>
}

export type RefundOutcome =
  | { status: 'made'; refund: RefundStatus }
  /** `mayExist`: WeChat may have made it, or make it yet; only the same number is safe. */
  | { status: 'refused'; error: ServiceError; mayExist: boolean }

export interface Bill {
  /** CSV as WeChat wrote it, UTF-8. It ends with an error where its hash is not the one announced: then nothing of it counts. */
  csv: Readable
}

export interface BillRequest {
  kind: 'trade' | 'fundflow'
  /** YYYY-MM-DD, of Beijing. */
  date: string
}

/**
 * Everything throws ServiceError: NOT_FOUND (no such order, refund or bill), PAY_REJECTED, and the WECHAT_* codes. What is
 * idempotent by its number is repeated inside where WeChat asks for it; a refund whose fate is unclear is queried first.
 */
export interface PayApi {
  prepay(merchant: Merchant, order: OrderRecord): Promise<PrepayOutcome>
  query(merchant: Merchant, outTradeNo: string): Promise<OrderStatus>
  close(merchant: Merchant, outTradeNo: string): Promise<void>
  refund(merchant: Merchant, request: RefundRequest): Promise<RefundOutcome>
  queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus>
  bill(merchant: Merchant, request: BillRequest): Promise<Bill>
}

/** Both of them. Which one is asked is for the order or refund to say. */
export type PayApis = Readonly<Record<ApiName, PayApi>>
