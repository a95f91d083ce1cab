/** Orders as WeChat has them now, and their end. What is answered never goes back to an earlier state. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings/model.ts'
import { mismatchError, mismatchOfOrder } from './match.ts'
import { type Merchants, withApp } from './merchants.ts'
import {
  ifFound,
  isPaid,
  type OrderRecord,
  type OrderStatus,
  type PayApi,
  type PayApis,
  recordedAmount
} from './model.ts'
import type { Orders } from './records.ts'
import { type MerchantHint, resolveMerchant } from './resolve-merchant.ts'
import type { WatchList } from './watch-list.ts'

/** What of an order leaves the house; WeChat's own fields go with events only. */
export type OrderView = Omit<OrderStatus, 'raw' | 'bankType'>

export interface OrderBookOptions {
  merchants: Merchants
  apis: PayApis
  orders: Orders
  watchList: Pick<WatchList, 'remove'>
}

interface ResolvedOrder {
  merchant: Merchant
  api: PayApi
  record: OrderRecord | undefined
}

export class OrderBook {
  readonly #options: OrderBookOptions

  constructor(options: OrderBookOptions) {
    this.#options = options
  }

  /** Throws NOT_FOUND where neither we nor WeChat know it, APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. */
  async find(outTradeNo: string, hint: MerchantHint): Promise<OrderView> {
    return this.#query(await this.#resolve(outTradeNo, hint), outTradeNo)
  }

  /** Closed now, or before. Throws as `find`, and PAY_REJECTED where it is paid. */
  async close(outTradeNo: string, hint: MerchantHint): Promise<void> {
    const { orders, watchList } = this.#options
    const order = await this.#resolve(outTradeNo, hint)
    const { merchant, api } = order
    await api.close(merchant, outTradeNo).catch((error: unknown) => this.#explain(order, outTradeNo, error))
    const { mchid } = merchant
    await orders.advance(mchid, outTradeNo, 'CLOSED')
    await watchList.remove({ kind: 'order', mchid, number: outTradeNo })
  }

  async #resolve(outTradeNo: string, hint: MerchantHint): Promise<ResolvedOrder> {
    const { merchants, apis, orders } = this.#options
    const resolved = await resolveMerchant(merchants, hint, (mchid) => orders.find(mchid, outTradeNo))
    const { merchant, api, record } = resolved
    return { merchant: record ? withApp(merchant, record.appid) : merchant, api: apis[api], record }
  }

  /** What WeChat says, with what we know beside it. Right after an order was made WeChat may not find it. */
  async #query({ merchant, api, record }: ResolvedOrder, outTradeNo: string): Promise<OrderView> {
    if (record === undefined) return api.query(merchant, outTradeNo)
    const status = await ifFound(api.query(merchant, outTradeNo))
    const mismatch = status && mismatchOfOrder(record, status, merchant.appids)
    if (mismatch) throw mismatchError('order', mismatch)
    const state = await this.#options.orders.advance(merchant.mchid, outTradeNo, status?.state ?? 'NOTPAY')
    return { ...viewOf(record, status), state }
  }

  /** What is paid cannot be closed; which code says so differs by api and age (docs/wechat/pay.md F). */
  async #explain(order: ResolvedOrder, outTradeNo: string, error: unknown): Promise<void> {
    if (!(error instanceof ServiceError && error.code === 'PAY_REJECTED')) throw error
    const { state } = await this.#query(order, outTradeNo)
    if (isPaid(state))
      throw new ServiceError('PAY_REJECTED', {
        message: 'This order is already paid, so it cannot be closed; refund it instead',
        wechat: error.wechat
      })
    if (state !== 'CLOSED') throw error
  }
}

/** WeChat says little of what is not paid: our record, which does not contradict it, has the rest. */
function viewOf(record: OrderRecord, status: OrderStatus | undefined): Omit<OrderView, 'state'> {
  const { api, appid, mchid, outTradeNo } = record
  return {
    api,
    appid,
    mchid,
    outTradeNo,
    transactionId: status?.transactionId,
    amount: status?.amount ?? recordedAmount(record),
    openid: status?.openid ?? record.openid,
    successTime: status?.successTime,
    attach: status?.attach ?? record.attach
  }
}
