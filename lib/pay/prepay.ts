/** Orders for wx.requestPayment: recorded here first, then made at WeChat, then signed for the phone. */
import { ServiceError } from '../errors.ts'
import { apiLike, apiOf, type Merchants, withApp } from './merchants.ts'
import type { ApiName, OrderRecord, PayApis, PayParams } from './model.ts'
import { type Orders, sameOrder } from './records.ts'
import type { WatchList, WatchTimes } from './watch-list.ts'

export interface PrepayRequest {
  openid: string
  outTradeNo: string
  description: string
  /** Fen. */
  amount: number
  appid?: string
  mchid?: string
  attach?: string
  /** ISO 8601 with a zone. */
  timeExpire?: string
  api?: ApiName
}

export interface Prepaid {
  prepayId: string
  payParams: PayParams
}

export interface PrepayOptions {
  merchants: Merchants
  orders: Orders
  apis: PayApis
  watchList: Pick<WatchList, 'add'>
  times: Pick<WatchTimes, 'first'>
  /** Milliseconds since 1970. */
  now: () => number
}

export class Prepay {
  readonly #options: PrepayOptions

  constructor(options: PrepayOptions) {
    this.#options = options
  }

  /**
   * The same call again gives the same order; another amount, app, user or text under the same number is refused.
   * Throws APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes. After WECHAT_TIMEOUT or WECHAT_BUSY the same call is safe.
   */
  async create(request: PrepayRequest): Promise<Prepaid> {
    const { merchants, orders, apis, now } = this.#options
    const { merchant, appid } = merchants.pick(request.mchid, request.appid)
    const wanted = recordOf(request, apiOf(merchant, request.api), appid, merchant.mchid, now())
    const { record, fresh } = await this.#remember(wanted)
    // Who leaves the choice to us gets the order as it was made, also where another api would be chosen today.
    const api = request.api ?? record.api
    if (!sameOrder(record, { ...wanted, api })) throw otherContent()
    const outcome = await apis[apiLike(merchant, api)].prepay(withApp(merchant, appid), record)
    if (outcome.status === 'made') return { prepayId: outcome.prepayId, payParams: outcome.payParams }
    if (fresh && !outcome.mayExist) await orders.forget(record)
    throw outcome.error
  }

  /** Both writes go out together. What WeChat refuses to make has no record, and so nobody asks for it. */
  async #remember(wanted: OrderRecord): Promise<{ record: OrderRecord; fresh: boolean }> {
    const { orders, watchList, times, now } = this.#options
    const entry = { kind: 'order', mchid: wanted.mchid, number: wanted.outTradeNo } as const
    const [known] = await Promise.all([orders.remember(wanted), watchList.add(entry, times.first('order', now()))])
    return known
  }
}

const otherContent = (): ServiceError =>
  new ServiceError('PAY_REJECTED', {
    message: 'This outTradeNo was ordered before with other content; keep that, or take another number'
  })

function recordOf(
  { openid, outTradeNo, description, amount, attach, timeExpire }: PrepayRequest,
  api: ApiName,
  appid: string,
  mchid: string,
  nowMs: number
): OrderRecord {
  return {
    api,
    appid,
    mchid,
    outTradeNo,
    openid,
    totalFen: amount,
    currency: 'CNY',
    description,
    ...(attach && { attach }),
    ...(timeExpire && { timeExpire: new Date(timeExpire).toISOString() }),
    createdAt: Math.floor(nowMs / 1000)
  }
}
