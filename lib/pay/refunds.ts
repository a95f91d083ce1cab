/** Refunds: recorded here first, then asked for at WeChat, once for each number of ours. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings/model.ts'
import { mismatchError, mismatchOfRefund } from './match.ts'
import { type Asking, apiLike, type MerchantHint, resolveMerchant, withApp } from './merchants.ts'
import type { ApiName, OrderRecord, RefundRecord, RefundRequest, RefundStatus } from './model.ts'
import { type Orders, type RefundRecords, sameRefund } from './records.ts'
import { refundOnce } from './refund-once.ts'
import type { WatchList, WatchTimes } from './watch-list.ts'

/** What of a refund leaves the house; WeChat's own fields go with events only. */
export type RefundView = Omit<RefundStatus, 'api' | 'mchid' | 'raw'>

export interface RefundsOptions extends Asking {
  orders: Pick<Orders, 'find'>
  records: RefundRecords
  watchList: Pick<WatchList, 'add' | 'remove'>
  times: Pick<WatchTimes, 'first'>
}

interface ResolvedRefund {
  merchant: Merchant
  api: ApiName
  /** Of the payment that is given back. */
  order: OrderRecord | undefined
}

export class Refunds {
  readonly #options: RefundsOptions

  constructor(options: RefundsOptions) {
    this.#options = options
  }

  /**
   * Asks for a refund. The same call again gives the same refund, as it stands then; another content under its number
   * is refused. After WECHAT_TIMEOUT, WECHAT_BUSY or WECHAT_UNREACHABLE the same call is safe, and the way to know.
   * Throws APP_UNKNOWN, NOT_FOUND (no such order), PAY_REJECTED and the WECHAT_* codes.
   */
  async create(request: RefundRequest, hint: MerchantHint): Promise<RefundView> {
    checkAmounts(request)
    const { apis, records, now } = this.#options
    const { merchant, api, order } = await this.#resolve(request, hint)
    if (order !== undefined && order.totalFen !== request.total)
      throw rejected('total has to be the amount of the order')
    const { mchid } = merchant
    const wanted = { api, mchid, ...request, createdAt: Math.floor(now() / 1000) }
    const { record, fresh } = await this.#remember(wanted)
    const outcome = await refundOnce(apis[apiLike(merchant, record.api)], merchant, request)
    if (outcome.status === 'made') return this.#noteState(outcome.refund)
    if (fresh && !outcome.mayExist) await records.forget(record)
    throw outcome.error
  }

  /** Throws NOT_FOUND, APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. */
  async find(outRefundNo: string, hint: MerchantHint): Promise<RefundView> {
    const { merchants, apis, records } = this.#options
    const resolved = await resolveMerchant(merchants, hint, (mchid) => records.find(mchid, outRefundNo))
    const { merchant, api, record } = resolved
    const order = await this.#findOrder(merchant.mchid, record?.outTradeNo)
    const status = await apis[api].queryRefund(order ? withApp(merchant, order.appid) : merchant, outRefundNo)
    const mismatch = record && mismatchOfRefund(record, status)
    if (mismatch) throw mismatchError('refund', mismatch)
    return this.#noteState(status)
  }

  /** A refund that was asked for before stays with its merchant; a new one goes by its order. */
  async #resolve({ outRefundNo, outTradeNo }: RefundRequest, hint: MerchantHint): Promise<ResolvedRefund> {
    const { merchants, records } = this.#options
    const { merchant, api } = await resolveMerchant(merchants, hint, async (mchid) => {
      const [refund, order] = await Promise.all([records.find(mchid, outRefundNo), this.#findOrder(mchid, outTradeNo)])
      return refund ?? order
    })
    const order = await this.#findOrder(merchant.mchid, outTradeNo)
    return { merchant: order ? withApp(merchant, order.appid) : merchant, api, order }
  }

  async #findOrder(mchid: string, outTradeNo: string | undefined): Promise<OrderRecord | undefined> {
    return outTradeNo === undefined ? undefined : this.#options.orders.find(mchid, outTradeNo)
  }

  async #noteState({ mchid, outRefundNo, state, ...status }: RefundStatus): Promise<RefundView> {
    const standing = await this.#options.records.advance(mchid, outRefundNo, state)
    return { ...status, outRefundNo, state: standing }
  }

  async #remember(wanted: RefundRecord): Promise<{ record: RefundRecord; fresh: boolean }> {
    const { records, watchList, times, now } = this.#options
    const { mchid, outRefundNo } = wanted
    const entry = { kind: 'refund', mchid, number: outRefundNo } as const
    const [known] = await Promise.all([records.remember(wanted), watchList.add(entry, times.first('refund', now()))])
    if (sameRefund(known.record, wanted)) return known
    throw rejected('This outRefundNo was used before for another refund; keep that content, or take another number')
  }
}

const rejected = (message: string): ServiceError => new ServiceError('PAY_REJECTED', { message })

function checkAmounts({ amount, total }: RefundRequest): void {
  if (amount > total) throw rejected('amount is more than total: no more can be given back than was paid')
}
