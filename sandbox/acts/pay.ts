/** The user pays an order, and WeChat tells the merchant about it. */
import { type Static, Type } from '@sinclair/typebox'
import type { Order, OrderState } from '../state/orders.ts'
import { makeNonce } from '../wire/random.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'
import { deliver, type NoticeResult } from './deliver.ts'
import { type Changes, payNotice } from './pay-notice.ts'

const Fields = Type.Record(Type.String(), Type.Union([Type.String(), Type.Integer(), Type.Null()]))

export const PayInput = Type.Object(
  {
    prepayId: Type.String(),
    times: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1000,
        description: 'notices in all; 0: paid, but WeChat stays silent; default 1'
      })
    ),
    concurrent: Type.Optional(
      Type.Boolean({ description: 'all notices at once; default: each after the answer to the one before' })
    ),
    notifyUrls: Type.Optional(
      Type.Array(Type.String(), { minItems: 1, description: 'in turn, instead of the notify_url of the order' })
    ),
    overrides: Type.Optional(Fields),
    tamper: Type.Optional(Fields),
    signWith: Type.Optional(Type.Union([Type.Literal('MD5'), Type.Literal('HMAC-SHA256')])),
    cdata: Type.Optional(Type.Boolean({ description: 'false: escaped text instead of CDATA' }))
  },
  { additionalProperties: false }
)
export type PayInput = Static<typeof PayInput>

export interface PayResult {
  transactionId: string
  outTradeNo: string
  notices: NoticeResult[]
}

/** The order changes before the first notice goes out. Overrides change the notice only, never the order. */
export async function pay(world: World, input: PayInput): Promise<PayResult> {
  const order = payable(world, input.prepayId)
  const payment = world.orders.pay(order, makeNonce())
  const notice = payNotice(order, payment, keyOf(world, order), changesOf(input))
  const { times = 1, concurrent = false, notifyUrls = [order.notifyUrl] } = input
  const targets = Array.from({ length: times }, (_, index) => notifyUrls[index % notifyUrls.length] ?? order.notifyUrl)
  const notices = await deliver(world, targets, { contentType: 'text/xml', body: notice }, concurrent)
  return { transactionId: payment.transactionId, outTradeNo: order.outTradeNo, notices }
}

/** Paying what is paid sends the notices again: that is how a test repeats them later. */
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

function keyOf({ merchants }: World, order: Order): string {
  const merchant = merchants.get(order.mchid)
  if (merchant === undefined) throw new ActError(500, `the merchant ${order.mchid} is gone`)
  return merchant.apiV2Key
}

function changesOf({ overrides = {}, tamper = {}, signWith, cdata = true }: PayInput): Changes {
  return { overrides, tamper, cdata, ...(signWith === undefined ? {} : { signWith }) }
}

export interface OrderView {
  api: 'v2'
  appid: string
  mchid: string
  outTradeNo: string
  openid: string
  totalFen: number
  currency: string
  description: string
  notifyUrl: string
  attach?: string
  signType?: string
  state: OrderState
  /** The newest. */
  prepayId?: string
  transactionId?: string
  /** ISO 8601. */
  paidAt?: string
}

/** The order as WeChat holds it. Throws ActError 404. */
export function order({ orders }: World, outTradeNo: string, mchid?: string): OrderView {
  const found = orders.findByNumber(outTradeNo, mchid)
  if (found === undefined) throw new ActError(404, `no order ${outTradeNo}`)
  const { fingerprint: _, prepayIds, payment, deviceInfo: __, expiresAt: ___, ...fields } = found
  const prepayId = prepayIds.at(-1)?.id
  const paid = payment && { transactionId: payment.transactionId, paidAt: new Date(payment.paidAt).toISOString() }
  return { ...fields, state: orders.state(found), ...(prepayId === undefined ? {} : { prepayId }), ...paid }
}
