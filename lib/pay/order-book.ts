/** Orders as WeChat has them now, and their end: asked of the right merchant and api, and never told to have gone backwards. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings.ts'
import type { OrderStatus, PayApi, PayApis } from './api.ts'
import { contradicted, contradictsOrder } from './contradiction.ts'
import { ifFound } from './if-found.ts'
import { type Merchants, withApp } from './merchants.ts'
import { isPaid, type OrderRecord, type Orders } from './orders.ts'
import type { WatchList } from './watch-list.ts'
import { type Hint, ownerOf } from './whose.ts'

/** What of an order leaves the house; WeChat's own fields go with events only. */
export type OrderView = Omit<OrderStatus, 'raw' | 'bankType'>

export interface OrderBook {
  /** Throws NOT_FOUND where neither we nor WeChat know it, APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. */
  find(outTradeNo: string, hint: Hint): Promise<OrderView>
  /** Closed now, or before. Throws as `find`, and PAY_REJECTED where it is paid. */
  close(outTradeNo: string, hint: Hint): Promise<void>
}

export interface OrderBookOptions {
  merchants: Merchants
  apis: PayApis
  orders: Orders
  watchList: Pick<WatchList, 'remove'>
}

interface Asked {
  merchant: Merchant
  api: PayApi
  record: OrderRecord | undefined
}

export function createOrderBook({ merchants, apis, orders, watchList }: OrderBookOptions): OrderBook {
  async function whose(outTradeNo: string, hint: Hint): Promise<Asked> {
    const { merchant, api, record } = await ownerOf(merchants, hint, (mchid) => orders.find(mchid, outTradeNo))
    return { merchant: record ? withApp(merchant, record.appid) : merchant, api: apis[api], record }
  }

  /** What WeChat says, with what we know beside it. Right after an order was made WeChat may not find it. */
  async function ask({ merchant, api, record }: Asked, outTradeNo: string): Promise<OrderView> {
    if (record === undefined) return api.query(merchant, outTradeNo)
    const status = await ifFound(api.query(merchant, outTradeNo))
    const contradiction = status && contradictsOrder(record, status, merchant.appids)
    if (contradiction) throw contradicted('order', contradiction)
    const told = status ?? { state: 'NOTPAY' as const }
    const state = await orders.advance(merchant.mchid, outTradeNo, told.state)
    return { ...knownOf(record), ...told, api: record.api, state }
  }

  /** What is paid cannot be closed; which code says so differs by api and age (pay.md F). */
  async function explain(asked: Asked, outTradeNo: string, error: unknown): Promise<void> {
    if (!(error instanceof ServiceError && error.code === 'PAY_REJECTED')) throw error
    const { state } = await ask(asked, outTradeNo)
    if (isPaid(state))
      throw new ServiceError('PAY_REJECTED', {
        message: 'This order is already paid, so it cannot be closed; refund it instead',
        ...(error.wechat && { wechat: error.wechat })
      })
    if (state !== 'CLOSED') throw error
  }

  return {
    find: async (outTradeNo, hint) => ask(await whose(outTradeNo, hint), outTradeNo),
    async close(outTradeNo, hint) {
      const asked = await whose(outTradeNo, hint)
      const { merchant, api } = asked
      await api.close(merchant, outTradeNo).catch((error: unknown) => explain(asked, outTradeNo, error))
      const { mchid } = merchant
      await orders.advance(mchid, outTradeNo, 'CLOSED')
      await watchList.remove({ kind: 'order', mchid, number: outTradeNo })
    }
  }
}

/** WeChat tells little of what is not paid. */
function knownOf({ appid, mchid, outTradeNo, openid, attach, totalFen, currency }: OrderRecord) {
  return { appid, mchid, outTradeNo, amount: { total: totalFen, currency }, openid, ...(attach && { attach }) }
}
