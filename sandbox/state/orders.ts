/** The orders of all merchants. Kept free of XML and JSON: v2 and v3 share orders. */
import type { SignType } from '../wire/pay-sign.ts'
import { makePrepayId, makeTransactionId } from '../wire/random.ts'

const PREPAY_LIFE_MS = 2 * 3600 * 1000

export interface Order {
  readonly api: 'v2'
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
  readonly expiresAt?: number
  /** What a repeated order has to agree with. */
  readonly fingerprint: string
  readonly prepayIds: { id: string; until: number }[]
  payment?: Payment
}

export interface Payment {
  readonly transactionId: string
  readonly paidAt: number
  /** One for all notices of this payment: WeChat repeats a notice as it was. */
  readonly nonce: string
}

export type OrderState = 'NOTPAY' | 'SUCCESS' | 'CLOSED'

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

  /** The order's newest prepay_id while it lives (2 hours), else another. */
  prepayId(order: Order): string {
    const now = this.#now()
    const newest = order.prepayIds.at(-1)
    if (newest !== undefined && newest.until > now) return newest.id
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
    if (order.payment !== undefined) return 'SUCCESS'
    return order.expiresAt !== undefined && order.expiresAt <= this.#now() ? 'CLOSED' : 'NOTPAY'
  }

  /** Money moves once: paying again gives the first payment. */
  pay(order: Order, nonce: string): Payment {
    const paidAt = this.#now()
    order.payment ??= { transactionId: makeTransactionId(paidAt), paidAt, nonce }
    return order.payment
  }
}
