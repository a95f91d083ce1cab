/**
 * Orders: recorded here first, then made at WeChat and signed for the phone; as WeChat has them now; and their end.
 * What is answered never goes back to an earlier state.
 */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings/model.ts'
import { mismatchError, mismatchOfOrder } from './match.ts'
import { type Asking, apiLike, apiOf, type MerchantHint, resolveMerchant, withApp } from './merchants.ts'
import {
  ifFound,
  isPaid,
  type OrderRecord,
  type OrderStatus,
  type PayApi,
  type PayParams,
  recordedAmount
} from './model.ts'
import { type Orders, sameOrder } from './records.ts'
import type { WatchList, WatchTimes } from './watch-list.ts'

export interface OrderRequest extends MerchantHint {
  openid: string
  outTradeNo: string
  description: string
  /** Fen. */
  amount: number
  appid?: string
  attach?: string
  /** ISO 8601 with a zone. */
  timeExpire?: string
}

/** What of an order leaves the house; WeChat's own fields go with events only. */
export type OrderView = Omit<OrderStatus, 'raw' | 'bankType'>

export interface OrderBookOptions extends Asking {
  orders: Orders
  watchList: Pick<WatchList, 'add' | 'remove'>
  times: Pick<WatchTimes, 'first'>
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

  /**
   * The same call again gives the same order; another amount, app, user or text under the same number is refused.
   * Throws APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. After WECHAT_TIMEOUT or WECHAT_BUSY the same call is safe.
   */
  async create(request: OrderRequest): Promise<{ prepayId: string; payParams: PayParams }> {
    const { merchants, orders, apis, now } = this.#options
    const { merchant, appid } = merchants.pick(request.mchid, request.appid)
    const { mchid } = merchant
    const made = { api: apiOf(merchant, request.api), appid, mchid, createdAt: Math.floor(now() / 1000) }
    const wanted = recordOf(request, made)
    const { record, fresh } = await this.#remember(wanted)
    // Who leaves the choice to us gets the order as it was made, also where another api would be chosen today.
    const api = request.api ?? record.api
    if (!sameOrder(record, { ...wanted, api })) throw otherContent()
    const outcome = await apis[apiLike(merchant, api)].prepay(withApp(merchant, appid), record)
    if (outcome.status === 'made') return { prepayId: outcome.prepayId, payParams: outcome.payParams }
    if (fresh && !outcome.mayExist) await orders.forget(record)
    throw outcome.error
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

  /** Both writes go out together. What WeChat refuses to make has no record, and so nobody asks for it. */
  async #remember(wanted: OrderRecord): Promise<{ record: OrderRecord; fresh: boolean }> {
    const { orders, watchList, times, now } = this.#options
    const entry = { kind: 'order', mchid: wanted.mchid, number: wanted.outTradeNo } as const
    const [known] = await Promise.all([orders.remember(wanted), watchList.add(entry, times.first('order', now()))])
    return known
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

const otherContent = (): ServiceError =>
  new ServiceError('PAY_REJECTED', {
    message: 'This outTradeNo was ordered before with other content; keep that, or take another number'
  })

function recordOf(
  { openid, outTradeNo, description, amount, attach, timeExpire }: OrderRequest,
  made: Pick<OrderRecord, 'api' | 'appid' | 'mchid' | 'createdAt'>
): OrderRecord {
  return {
    ...made,
    outTradeNo,
    openid,
    totalFen: amount,
    currency: 'CNY',
    description,
    ...(attach && { attach }),
    ...(timeExpire && { timeExpire: new Date(timeExpire).toISOString() })
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
