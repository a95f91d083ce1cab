/** Refunds: recorded here first, then asked for at WeChat, once for each number of ours. */
import { ServiceError } from '../errors.ts'
import type { Merchant } from '../settings.ts'
import type { ApiName, PayApis, RefundRequest, RefundStatus } from './api.ts'
import { contradicted, contradictsRefund } from './contradiction.ts'
import { apiLike, type Merchants, withApp } from './merchants.ts'
import type { OrderRecord, Orders } from './orders.ts'
import { type RefundRecord, type RefundRecords, sameRefund } from './refund-records.ts'
import type { WatchList } from './watch-list.ts'
import type { WatchTimes } from './watch-times.ts'
import { type Hint, ownerOf } from './whose.ts'

/** What of a refund leaves the house; WeChat's own fields go with events only. */
export type RefundView = Omit<RefundStatus, 'api' | 'mchid' | 'raw'>

export interface Refunds {
  /**
   * Asks for a refund. The same call again gives the same refund, as it stands then; another content under its number is
   * refused. After WECHAT_TIMEOUT, WECHAT_BUSY or WECHAT_UNREACHABLE the same call is safe, and the way to know. Throws
   * APP_UNKNOWN, NOT_FOUND (no such order), PAY_REJECTED and the WECHAT_* codes.
   */
  create(request: RefundRequest, hint: Hint): Promise<RefundView>
  /** Throws NOT_FOUND, APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. */
  find(outRefundNo: string, hint: Hint): Promise<RefundView>
}

export interface RefundsOptions {
  merchants: Merchants
  apis: PayApis
  orders: Pick<Orders, 'find'>
  records: RefundRecords
  watchList: Pick<WatchList, 'add' | 'remove'>
  times: Pick<WatchTimes, 'first'>
  /** Milliseconds since 1970. */
  now: () => number
}

interface Asked {
  merchant: Merchant
  api: ApiName
  /** Of the payment that is given back. */
  order: OrderRecord | undefined
}

export function createRefunds({ merchants, apis, orders, records, watchList, times, now }: RefundsOptions): Refunds {
  const findOrder = async (mchid: string, outTradeNo: string | undefined) =>
    outTradeNo === undefined ? undefined : orders.find(mchid, outTradeNo)

  /** A refund that was asked for before stays with its merchant; a new one goes by its order. */
  async function whose({ outRefundNo, outTradeNo }: RefundRequest, hint: Hint): Promise<Asked> {
    const { merchant, api } = await ownerOf(merchants, hint, async (mchid) => {
      const [refund, order] = await Promise.all([records.find(mchid, outRefundNo), findOrder(mchid, outTradeNo)])
      return refund ?? order
    })
    const order = await findOrder(merchant.mchid, outTradeNo)
    return { merchant: order ? withApp(merchant, order.appid) : merchant, api, order }
  }

  async function noteState({ mchid, outRefundNo, state, ...status }: RefundStatus): Promise<RefundView> {
    const standing = await records.advance(mchid, outRefundNo, state)
    return { ...status, outRefundNo, state: standing }
  }

  async function remember(wanted: RefundRecord): Promise<{ record: RefundRecord; fresh: boolean }> {
    const { mchid, outRefundNo } = wanted
    const entry = { kind: 'refund', mchid, number: outRefundNo } as const
    const [known] = await Promise.all([records.remember(wanted), watchList.add(entry, times.first('refund', now()))])
    if (sameRefund(known.record, wanted)) return known
    throw rejected('This outRefundNo was used before for another refund; keep that content, or take another number')
  }

  return {
    async create(request, hint) {
      checkAmounts(request)
      const { merchant, api, order } = await whose(request, hint)
      if (order !== undefined && order.totalFen !== request.total)
        throw rejected('total has to be the amount of the order')
      const { mchid } = merchant
      const wanted = { api, mchid, ...request, createdAt: Math.floor(now() / 1000) }
      const { record, fresh } = await remember(wanted)
      const outcome = await apis[apiLike(merchant, record.api)].refund(merchant, request)
      if (outcome.status === 'made') return noteState(outcome.refund)
      if (fresh && !outcome.mayExist) await records.forget(record)
      throw outcome.error
    },
    async find(outRefundNo, hint) {
      const { merchant, api, record } = await ownerOf(merchants, hint, (mchid) => records.find(mchid, outRefundNo))
      const order = await findOrder(merchant.mchid, record?.outTradeNo)
      const asked = order ? withApp(merchant, order.appid) : merchant
      const status = await apis[api].queryRefund(asked, outRefundNo)
      const contradiction = record && contradictsRefund(record, status)
      if (contradiction) throw contradicted('refund', contradiction)
      return noteState(status)
    }
  }
}

const rejected = (message: string): ServiceError => new ServiceError('PAY_REJECTED', { message })

function checkAmounts({ amount, total }: RefundRequest): void {
  if (amount > total) throw rejected('amount is more than total: no more can be given back than was paid')
}
