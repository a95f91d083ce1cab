/** What an event that is safely recorded means for our own books: states move on, and nobody need ask WeChat any more. */
import type { Event, EventRecorder } from '../events/queue.ts'
import type { Orders } from './orders.ts'
import type { RefundRecords } from './refund-records.ts'
import type { WatchList } from './watch-list.ts'

export interface FollowOptions {
  orders: Pick<Orders, 'advance'>
  refunds: Pick<RefundRecords, 'advance'>
  watchList: Pick<WatchList, 'remove'>
}

/** What the events of lib/pay/events.ts say of themselves. */
interface Told {
  mchid: string
  outTradeNo: string
  outRefundNo: string
  /** Of a payment: false for an order that was not made here, of which there are no books. */
  orderKnown?: boolean
}

/**
 * Records as `events` does; then, without anybody waiting, the books follow. Where that fails, WeChat is asked once too often,
 * and says the same again.
 */
export function followEvents(
  events: Pick<EventRecorder, 'record'>,
  options: FollowOptions
): Pick<EventRecorder, 'record'> {
  return {
    async record(event) {
      const recorded = await events.record(event)
      if (recorded !== 'conflict') follow(event, options).catch(() => undefined)
      return recorded
    }
  }
}

async function follow({ type, data }: Event, { orders, refunds, watchList }: FollowOptions): Promise<void> {
  const { mchid, outTradeNo, outRefundNo, orderKnown = true } = data as Told
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
