/** The orders of all merchants. Kept free of XML and JSON: v2 and v3 share orders. */
import type { SignType } from '../wire/pay-sign.ts'
import { makeNonce, makeNoticeId, makePrepayId, makeTransactionId } from '../wire/random.ts'
import type { Refund } from './refunds.ts'

const PREPAY_LIFE_MS = 2 * 3600 * 1000

export interface Order {
  /** Which of them made it: the notice comes in its form. */
  readonly api: 'v2' | 'v3'
  readonly appid: string
  readonly mchid: string
  readonly outTradeNo: string
  readonly openid: string
  readonly totalFen: number
  readonly currency: string
  readonly description: string
  readonly notifyUrl: string
  readonly attach?: string
  readonly deviceInfo?: string
  /** sign_type as the order had it; undefined: it had none, which means MD5. */
  readonly signType?: SignType
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly expiresAt?: number
  /** What a repeated order has to agree with. */
  readonly fingerprint: string
  readonly prepayIds: { id: string; until: number }[]
  payment?: Payment
  /** The merchant closed it. */
  closed?: boolean
  /** In the order in which they were asked for. */
  readonly refunds: Refund[]
}

export interface Payment {
  readonly transactionId: string
  readonly paidAt: number
  /** One for all notices of this payment: WeChat repeats a notice as it was. */
  readonly nonce: string
  /** Of its APIv3 notification; the same at every try. */
  readonly noticeId: string
}

/** REFUND: paid, then refunded in part or whole. */
export type OrderState = 'NOTPAY' | 'SUCCESS' | 'REFUND' | 'CLOSED'

export class Orders {
  readonly #orders = new Map<string, Order>()
  readonly #byPrepayId = new Map<string, Order>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  add(order: Order): void {
    this.#orders.set(`${order.mchid} ${order.outTradeNo}`, order)
  }

  find(mchid: string, outTradeNo: string): Order | undefined {
    return this.#orders.get(`${mchid} ${outTradeNo}`)
  }

  /** Numbers are unique per merchant only; without mchid the newest order of that number is meant. */
  findByNumber(outTradeNo: string, mchid?: string): Order | undefined {
    if (mchid !== undefined) return this.find(mchid, outTradeNo)
    return [...this.#orders.values()].findLast((order) => order.outTradeNo === outTradeNo)
  }

  findByPrepayId(prepayId: string): Order | undefined {
    return this.#byPrepayId.get(prepayId)
  }

  findByTransactionId(mchid: string, transactionId: string): Order | undefined {
    return this.ofMerchant(mchid).find(({ payment }) => payment?.transactionId === transactionId)
  }

  /** Oldest first. */
  ofMerchant(mchid: string): Order[] {
    return [...this.#orders.values()].filter((order) => order.mchid === mchid)
  }

  /** The order's newest prepay_id while it lives (2 hours), else another. */
  prepayId(order: Order): string {
    const newest = order.prepayIds.at(-1)
    return newest !== undefined && newest.until > this.#now() ? newest.id : this.newPrepayId(order)
  }

  newPrepayId(order: Order): string {
    const now = this.#now()
    const id = makePrepayId(now)
    order.prepayIds.push({ id, until: now + PREPAY_LIFE_MS })
    this.#byPrepayId.set(id, order)
    return id
  }

  isPrepayIdAlive(order: Order, prepayId: string): boolean {
    return order.prepayIds.some(({ id, until }) => id === prepayId && until > this.#now())
  }

  /** An order that nobody paid in time is as good as closed. */
  state(order: Order): OrderState {
    if (order.payment !== undefined) return order.refunds.some(({ state }) => state !== 'CLOSED') ? 'REFUND' : 'SUCCESS'
    if (order.closed === true) return 'CLOSED'
    return order.expiresAt !== undefined && order.expiresAt <= this.#now() ? 'CLOSED' : 'NOTPAY'
  }

  /** Money moves once: paying again gives the first payment. */
  pay(order: Order): Payment {
    const paidAt = this.#now()
    order.payment ??= {
      transactionId: makeTransactionId(paidAt),
      paidAt,
      nonce: makeNonce(),
      noticeId: makeNoticeId()
    }
    return order.payment
  }
}
