/** The user pays an order, and WeChat tells the merchant about it. */
import { type Static, Type } from '@sinclair/typebox'
import type { MerchantAccount } from '../state/merchants-v3.ts'
import type { Order, Payment } from '../state/orders.ts'
import { transaction } from '../upstream/v3-transaction.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'
import { Delivery, deliver, type NoticeResult, type Sending } from './deliver.ts'
import { Changes, checkChanges } from './notice-changes.ts'
import { payNotice } from './pay-notice.ts'
import { v3Notice } from './v3-notice.ts'

export const PayInput = Type.Object(
  { prepayId: Type.String(), ...Delivery, ...Changes },
  { additionalProperties: false }
)
export type PayInput = { prepayId: string } & Omit<Static<typeof PayInput>, 'signature'> & Changes

export interface PayResult {
  transactionId: string
  outTradeNo: string
  notices: NoticeResult[]
}

/** The order changes before the first notice goes out. Overrides change the notice only, never the order. */
export async function pay(world: World, input: PayInput): Promise<PayResult> {
  const order = payable(world, input.prepayId)
  checkChanges(order.api === 'v2' ? 'XML' : 'JSON', input)
  const payment = world.orders.pay(order)
  const notices = await deliver(world, input, sendingOf(world, order, payment, input))
  return { transactionId: payment.transactionId, outTradeNo: order.outTradeNo, notices }
}

/** Paying a paid order sends the notices again, so that a test can repeat them later. */
function payable({ orders }: World, prepayId: string): Order {
  const order = orders.findByPrepayId(prepayId)
  if (order === undefined) throw new ActError(404, `no order has the prepay_id ${prepayId}`)
  const state = orders.state(order)
  if (state === 'CLOSED')
    throw new ActError(409, `the order ${order.outTradeNo} is closed, or its time_expire has passed`)
  if (state === 'NOTPAY' && !orders.isPrepayIdAlive(order, prepayId))
    throw new ActError(409, `the prepay_id ${prepayId} is older than 2 hours`)
  return order
}

function sendingOf(world: World, order: Order, payment: Payment, changes: Changes): Sending {
  const { notifyUrl: url } = order
  if (order.api === 'v3') return { url, make: v3PayNotice(world, order, payment, changes), isTaken: isTakenByStatus }
  const body = payNotice(order, payment, keyOf(world, order.mchid), changes)
  return { url, make: () => ({ contentType: 'text/xml', body }), isTaken: isTakenByBody }
}

/** A payment's notice reports the payment, not later refunds. */
function v3PayNotice(world: World, order: Order, payment: Payment, changes: Changes): Sending['make'] {
  const happening = {
    id: payment.noticeId,
    at: payment.paidAt,
    eventType: 'TRANSACTION.SUCCESS',
    summary: '支付成功',
    originalType: 'transaction' as const,
    fields: transaction(order, 'SUCCESS')
  }
  return v3Notice(world, accountOf(world, order.mchid), happening, changes)
}

/** v3: only 200 and 204. */
export function isTakenByStatus({ status }: NoticeResult): boolean {
  return status === 200 || status === 204
}

export function isTakenByBody({ status, body }: NoticeResult): boolean {
  return status === 200 && /<return_code>(<!\[CDATA\[)?SUCCESS(\]\]>)?<\/return_code>/.test(body)
}

/** The merchant's APIv2 key. */
export function keyOf({ merchants }: World, mchid: string): string {
  const merchant = merchants.get(mchid)
  if (merchant === undefined) throw new ActError(404, `the sandbox has no merchant ${mchid}`)
  return merchant.apiV2Key
}

export function accountOf({ accounts }: World, mchid: string): MerchantAccount {
  const account = accounts.get(mchid)
  if (account === undefined) throw new ActError(404, `the sandbox has no merchant ${mchid} with APIv3`)
  return account
}
