/** Refunds, by the rules that v2 and v3 share. */
import { makeNonce, makeNoticeId, makeRefundId } from '../wire/random.ts'
import type { Order, Orders } from './orders.ts'

const MAX_REFUNDS = 50
const MAX_AGE_MS = 365 * 24 * 3600 * 1000

export type RefundState = 'PROCESSING' | 'SUCCESS' | 'CLOSED' | 'ABNORMAL'

export interface Refund {
  /** Which of them asked for it: with a notify_url of its own the notice comes in its form. */
  readonly api: 'v2' | 'v3'
  readonly order: Order
  readonly transactionId: string
  readonly refundId: string
  readonly outRefundNo: string
  readonly refundFen: number
  readonly reason?: string
  readonly notifyUrl?: string
  readonly createdAt: number
  state: RefundState
  successAt?: number
  /** One for all notices of one state. */
  readonly notices: Map<RefundState, { id: string; nonce: string; at: number }>
}

export interface RefundRequest {
  api: 'v2' | 'v3'
  mchid: string
  /** transactionId wins where both are there. */
  transactionId?: string
  outTradeNo?: string
  outRefundNo: string
  refundFen: number
  totalFen: number
  reason?: string
  notifyUrl?: string
}

export const REFUND_REFUSALS = {
  'no order': '订单不存在',
  'not paid': '订单未支付，不可退款',
  'other total': '订单金额与支付时不一致',
  'other content': '同一商户退款单号，本次请求与首次请求的内容不一致',
  'too much': '申请退款金额大于订单可退金额',
  'too many': '部分退款次数超过50次',
  overdue: '订单已经超过可退款的最大期限'
} as const
export type RefundRefusal = keyof typeof REFUND_REFUSALS

/** Each API says it in its own words. */
export class RefundRefused extends Error {
  readonly refusal: RefundRefusal

  constructor(refusal: RefundRefusal) {
    super(REFUND_REFUSALS[refusal])
    this.refusal = refusal
  }
}

export class Refunds {
  readonly #refunds = new Map<string, Refund>()
  readonly #orders: Orders
  readonly #now: () => number

  constructor(orders: Orders, now: () => number) {
    this.#orders = orders
    this.#now = now
  }

  find(mchid: string, outRefundNo: string): Refund | undefined {
    return this.#refunds.get(`${mchid} ${outRefundNo}`)
  }

  findById(mchid: string, refundId: string): Refund | undefined {
    return [...this.#refunds.values()].find((refund) => refund.refundId === refundId && refund.order.mchid === mchid)
  }

  /** Without mchid the newest refund of that number is meant. */
  findByNumber(outRefundNo: string, mchid?: string): Refund | undefined {
    if (mchid !== undefined) return this.find(mchid, outRefundNo)
    return [...this.#refunds.values()].findLast((refund) => refund.outRefundNo === outRefundNo)
  }

  /** The same number with the same content is the same refund. Throws RefundRefused. */
  request(request: RefundRequest): Refund {
    const { mchid, outRefundNo } = request
    const order = this.#orderOf(request)
    const known = this.find(mchid, outRefundNo)
    if (known !== undefined) return sameRefund(known, order, request)
    this.#check(order, request)
    const refund = this.#make(order, request)
    this.#refunds.set(`${mchid} ${outRefundNo}`, refund)
    order.refunds.push(refund)
    return refund
  }

  /** WeChat comes to a result. */
  settle(refund: Refund, state: RefundState): void {
    refund.state = state
    if (state === 'SUCCESS') refund.successAt ??= this.#now()
  }

  /** The identity of the notice of one state. */
  notice(refund: Refund, state: RefundState): { id: string; nonce: string; at: number } {
    const known = refund.notices.get(state)
    if (known !== undefined) return known
    const notice = { id: makeNoticeId(), nonce: makeNonce(), at: this.#now() }
    refund.notices.set(state, notice)
    return notice
  }

  #orderOf({ mchid, transactionId, outTradeNo = '' }: RefundRequest): Order {
    const order =
      transactionId === undefined
        ? this.#orders.find(mchid, outTradeNo)
        : this.#orders.findByTransactionId(mchid, transactionId)
    if (order === undefined) throw new RefundRefused('no order')
    return order
  }

  #check(order: Order, { refundFen, totalFen }: RefundRequest): void {
    if (order.payment === undefined) throw new RefundRefused('not paid')
    if (this.#now() - order.payment.paidAt > MAX_AGE_MS) throw new RefundRefused('overdue')
    if (totalFen !== order.totalFen) throw new RefundRefused('other total')
    if (refundFen > leftFen(order)) throw new RefundRefused('too much')
    if (order.refunds.length >= MAX_REFUNDS) throw new RefundRefused('too many')
  }

  #make(order: Order, { api, outRefundNo, refundFen, reason, notifyUrl }: RefundRequest): Refund {
    const createdAt = this.#now()
    return {
      api,
      order,
      transactionId: order.payment?.transactionId ?? '',
      refundId: makeRefundId(createdAt),
      outRefundNo,
      refundFen,
      ...(reason === undefined ? {} : { reason }),
      ...(notifyUrl === undefined ? {} : { notifyUrl }),
      createdAt,
      state: 'PROCESSING',
      notices: new Map()
    }
  }
}

/** What closed refunds would have taken is there again. */
function leftFen({ totalFen, refunds }: Order): number {
  return refunds.reduce((left, { state, refundFen }) => (state === 'CLOSED' ? left : left - refundFen), totalFen)
}

function sameRefund(known: Refund, order: Order, { refundFen, totalFen }: RefundRequest): Refund {
  if (known.order !== order || known.refundFen !== refundFen || totalFen !== order.totalFen)
    throw new RefundRefused('other content')
  return known
}
