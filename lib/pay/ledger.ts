/** Our own books: once an event is safely recorded, states move on, and WeChat need not be asked about it any more. */
import type { Event } from '../events/model.ts'
import type { EventRecorder } from '../events/recorder.ts'
import type { Orders, RefundRecords } from './records.ts'
import type { WatchList } from './watch-list.ts'

export interface LedgerOptions {
  events: Pick<EventRecorder, 'record'>
  orders: Pick<Orders, 'advance'>
  refunds: Pick<RefundRecords, 'advance'>
  watchList: Pick<WatchList, 'remove'>
}

/** What the events of lib/pay/model.ts say of themselves. */
interface EventFacts {
  mchid: string
  outTradeNo: string
  outRefundNo: string
  /** Of a payment: false for an order that was not made here, of which there are no books. */
  orderKnown?: boolean
}

export class Ledger {
  readonly #options: LedgerOptions

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  /** Records an event, and then follows it. */
  async record(event: Event): ReturnType<EventRecorder['record']> {
    const recorded = await this.#options.events.record(event)
    if (recorded !== 'conflict') this.follow(event)
    return recorded
  }

  /** Nobody waits for it. Where it fails, WeChat is asked once too often, and says the same again. */
  follow(event: Event): void {
    this.#follow(event).catch(() => undefined)
  }

  async #follow({ type, data }: Event): Promise<void> {
    const { orders, refunds, watchList } = this.#options
    const { mchid, outTradeNo, outRefundNo, orderKnown = true } = data as unknown as EventFacts
    if (!orderKnown) return
    const removeRefund = () => watchList.remove({ kind: 'refund', mchid, number: outRefundNo })
    switch (type) {
      case 'payment.succeeded':
        await Promise.all([
          watchList.remove({ kind: 'order', mchid, number: outTradeNo }),
          orders.advance(mchid, outTradeNo, 'SUCCESS')
        ])
        break
      case 'refund.succeeded':
        await Promise.all([
          removeRefund(),
          refunds.advance(mchid, outRefundNo, 'SUCCESS'),
          orders.advance(mchid, outTradeNo, 'REFUND')
        ])
        break
      case 'refund.closed':
        await Promise.all([removeRefund(), refunds.advance(mchid, outRefundNo, 'CLOSED')])
        break
      case 'refund.abnormal':
        await refunds.advance(mchid, outRefundNo, 'ABNORMAL')
    }
  }
}
