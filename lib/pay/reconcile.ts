/**
 * Where no callback came WeChat is asked: how an open order or refund of ours stands, and the event of what came of it.
 */

import { ServiceError } from '../errors.ts'
import type { EventRecorder } from '../events/recorder.ts'
import { mismatchOfOrder, mismatchOfRefund } from './match.ts'
import { type Asking, apiLike, withApp } from './merchants.ts'
import {
  ifFound,
  isFinal,
  isPaid,
  isWechatId,
  type OrderRecord,
  type OrderStatus,
  type Payment,
  paymentEvent,
  type RefundRecord,
  type RefundStatus,
  recordedAmount,
  refundEvent
} from './model.ts'
import { endMsOf, type Orders, type RefundRecords } from './records.ts'
import type { Waiting, Watched } from './watch-list.ts'

export type Checked =
  /** Nothing more is to be asked. `found`: an event that no callback had brought. */
  | { status: 'settled'; found: boolean }
  /** Still open at WeChat. */
  | { status: 'open'; waiting: Waiting }
  /** Nobody could say, which is asked for again; `reason` is a code, or names what contradicts our record. */
  | { status: 'failed'; waiting: Waiting; reason: string }

export interface ReconcileOptions extends Asking {
  orders: Pick<Orders, 'find' | 'advance'>
  refunds: Pick<RefundRecords, 'find' | 'advance'>
  /** Its books follow what is recorded. */
  events: Pick<EventRecorder, 'record'>
}

/** Asks once about one entry. Throws where Redis cannot be reached. */
export async function checkWatched({ kind, mchid, number }: Watched, options: ReconcileOptions): Promise<Checked> {
  const { orders, refunds } = options
  if (kind === 'order') {
    const record = await orders.find(mchid, number)
    return record === undefined ? SETTLED : guarded(waitingForOrder(record), () => checkOrder(record, options))
  }
  const record = await refunds.find(mchid, number)
  return record === undefined ? SETTLED : guarded(waitingForRefund(record), () => checkRefund(record, options))
}

const SETTLED: Checked = { status: 'settled', found: false }

/** A bank may take as long to give money back. */
const REFUND_LIFE_MS = 30 * 86_400_000

const waitingForOrder = (order: OrderRecord): Waiting => ({
  kind: 'order',
  createdAtMs: order.createdAt * 1000,
  endMs: endMsOf(order)
})

const waitingForRefund = ({ createdAt }: RefundRecord): Waiting => ({
  kind: 'refund',
  createdAtMs: createdAt * 1000,
  endMs: createdAt * 1000 + REFUND_LIFE_MS
})

type Finding = { status: 'settled'; found: boolean } | { status: 'open' } | { status: 'failed'; reason: string }

/** Our own refusals say that WeChat gave no answer to go by. */
async function guarded(waiting: Waiting, check: () => Promise<Finding>): Promise<Checked> {
  try {
    const finding = await check()
    return finding.status === 'settled' ? finding : { ...finding, waiting }
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return { status: 'failed', waiting, reason: error.code }
  }
}

/** WeChat may not find an order or refund right after it was made; later it was never made, and nothing comes of it. */
const UNMADE_AFTER_MS = 3_600_000

const absent = ({ createdAt }: OrderRecord | RefundRecord, nowMs: number): Finding =>
  nowMs - createdAt * 1000 > UNMADE_AFTER_MS ? { status: 'settled', found: false } : { status: 'open' }

async function checkOrder(order: OrderRecord, options: ReconcileOptions): Promise<Finding> {
  const { merchants, apis, orders, now } = options
  const { mchid, outTradeNo } = order
  const merchant = merchants.one(mchid)
  const asked = apis[apiLike(merchant, order.api)].query(withApp(merchant, order.appid), outTradeNo)
  const status = await ifFound(asked)
  if (status === undefined) return absent(order, now())
  const reason = mismatchOfOrder(order, status, merchant.appids)
  if (reason !== undefined) return { status: 'failed', reason }
  if (isPaid(status.state)) return recordPayment(order, status, options)
  await orders.advance(mchid, outTradeNo, status.state)
  return status.state === 'CLOSED' || status.state === 'REVOKED'
    ? { status: 'settled', found: false }
    : { status: 'open' }
}

async function recordPayment(order: OrderRecord, status: OrderStatus, options: ReconcileOptions): Promise<Finding> {
  const { events, orders, now } = options
  const payment = paymentOf(order, status, now())
  if (payment === undefined) return { status: 'failed', reason: 'transaction_id' }
  const recorded = await events.record(paymentEvent(payment, true))
  if (recorded === 'conflict') return { status: 'failed', reason: 'other-content' }
  await orders.advance(order.mchid, order.outTradeNo, status.state)
  return { status: 'settled', found: recorded === 'recorded' }
}

/**
 * Of an order that is refunded by now APIv2 promises no more than its number: our record has the rest
 * (docs/wechat/pay.md A5).
 */
function paymentOf(order: OrderRecord, status: OrderStatus, nowMs: number): Payment | undefined {
  const { transactionId } = status
  if (transactionId === undefined || !isWechatId(transactionId)) return undefined
  return {
    ...status,
    api: order.api,
    transactionId,
    amount: status.amount ?? recordedAmount(order),
    openid: status.openid ?? order.openid,
    successTime: status.successTime ?? new Date(nowMs).toISOString()
  }
}

async function checkRefund(refund: RefundRecord, options: ReconcileOptions): Promise<Finding> {
  const { merchants, apis, refunds, now } = options
  const { mchid, outRefundNo } = refund
  const merchant = merchants.one(mchid)
  const asked = apis[apiLike(merchant, refund.api)].queryRefund(await inNameOf(refund, options), outRefundNo)
  const status = await ifFound(asked)
  if (status === undefined) return absent(refund, now())
  const reason = mismatchOfRefund(refund, status)
  if (reason !== undefined) return { status: 'failed', reason }
  await refunds.advance(mchid, outRefundNo, status.state)
  return recordRefund(refund, status, options)
}

/** APIv2 names an app in every call; a refund by transaction_id does not say which. */
async function inNameOf({ mchid, outTradeNo }: RefundRecord, { merchants, orders }: ReconcileOptions) {
  const merchant = merchants.one(mchid)
  const order = outTradeNo === undefined ? undefined : await orders.find(mchid, outTradeNo)
  return order === undefined ? merchant : withApp(merchant, order.appid)
}

async function recordRefund(
  { api }: RefundRecord,
  status: RefundStatus,
  { events, now }: ReconcileOptions
): Promise<Finding> {
  const { state, refundId } = status
  if (state === 'PROCESSING') return { status: 'open' }
  if (!isWechatId(refundId)) return { status: 'failed', reason: 'refund_id' }
  const recorded = await events.record(refundEvent({ ...status, api, state }, new Date(now()).toISOString()))
  if (recorded === 'conflict') return { status: 'failed', reason: 'other-content' }
  return isFinal(state) ? { status: 'settled', found: recorded === 'recorded' } : { status: 'open' }
}
