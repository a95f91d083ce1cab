/** Orders beside the APIs: what WeChat holds, and orders that some other system of the merchant made. */
import { type Static, Type } from '@sinclair/typebox'
import type { Order, OrderState } from '../state/orders.ts'
import type { RefundState } from '../state/refunds.ts'
import { makeOpenid } from '../wire/random.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'

export interface OrderView {
  api: 'v2' | 'v3'
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
  refunds: RefundView[]
}

export interface RefundView {
  outRefundNo: string
  refundId: string
  refundFen: number
  state: RefundState
}

/** The order as WeChat holds it. Throws ActError 404. */
export function order({ orders }: World, outTradeNo: string, mchid?: string): OrderView {
  const found = orders.findByNumber(outTradeNo, mchid)
  if (found === undefined) throw new ActError(404, `no order ${outTradeNo}`)
  const { attach, signType, payment } = found
  const prepayId = found.prepayIds.at(-1)?.id
  return {
    api: found.api,
    appid: found.appid,
    mchid: found.mchid,
    outTradeNo: found.outTradeNo,
    openid: found.openid,
    totalFen: found.totalFen,
    currency: found.currency,
    description: found.description,
    notifyUrl: found.notifyUrl,
    ...(attach === undefined ? {} : { attach }),
    ...(signType === undefined ? {} : { signType }),
    state: orders.state(found),
    ...(prepayId === undefined ? {} : { prepayId }),
    ...(payment && { transactionId: payment.transactionId, paidAt: new Date(payment.paidAt).toISOString() }),
    refunds: refundsOf(found)
  }
}

function refundsOf({ refunds }: Order): RefundView[] {
  return refunds.map(({ outRefundNo, refundId, refundFen, state }) => ({ outRefundNo, refundId, refundFen, state }))
}

export const PlaceInput = Type.Object(
  {
    api: Type.Union([Type.Literal('v2'), Type.Literal('v3')]),
    appid: Type.String(),
    mchid: Type.String(),
    outTradeNo: Type.String({ minLength: 6, maxLength: 32 }),
    totalFen: Type.Integer({ minimum: 1 }),
    notifyUrl: Type.String(),
    openid: Type.Optional(Type.String({ description: 'default: a new one' })),
    description: Type.Optional(Type.String()),
    attach: Type.Optional(Type.String())
  },
  { additionalProperties: false }
)
export type PlaceInput = Static<typeof PlaceInput>

/** As if another system of the merchant had ordered: the gateway knows nothing of it. */
export function place(world: World, input: PlaceInput): { prepayId: string; outTradeNo: string } {
  const { orders, merchants, accounts } = world
  if (!merchants.get(input.mchid)?.appids.includes(input.appid))
    throw new ActError(404, `the sandbox has no merchant ${input.mchid} bound to ${input.appid}`)
  if (input.api === 'v3' && !accounts.has(input.mchid)) throw new ActError(409, `${input.mchid} does not use APIv3`)
  if (orders.find(input.mchid, input.outTradeNo) !== undefined) throw new ActError(409, `${input.outTradeNo} is taken`)
  const made: Order = {
    openid: makeOpenid(),
    description: 'an order of another system',
    ...input,
    currency: 'CNY',
    createdAt: world.now(),
    fingerprint: 'of another system',
    prepayIds: [],
    refunds: []
  }
  orders.add(made)
  return { prepayId: orders.newPrepayId(made), outTradeNo: made.outTradeNo }
}
