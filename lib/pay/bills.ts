/** The bills of a day, as WeChat wrote them. */
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { beijingDate } from '../util/beijing-time.ts'
import { type Asking, apiOf, type MerchantHint } from './merchants.ts'
import type { BillRequest } from './model.ts'

export type BillOutcome =
  /** The stream ends with WECHAT_BAD_RESPONSE where the bill is not the one announced: nothing of it counts then. */
  | { status: 'open'; csv: Readable }
  /** The day has not begun yet in Beijing. */
  | { status: 'future' }

export class Bills {
  readonly #options: Asking

  constructor(options: Asking) {
    this.#options = options
  }

  /**
   * Fund flow bills come by v3 only. Throws NOT_FOUND where WeChat has no bill of that day, WECHAT_BUSY while it makes
   * it, APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes.
   */
  async open(request: BillRequest, { mchid, api }: MerchantHint): Promise<BillOutcome> {
    const { merchants, apis, now } = this.#options
    const merchant = merchants.one(mchid)
    if (request.date > beijingDate(now())) return { status: 'future' }
    const { csv } = await apis[apiOf(merchant, api)].bill(merchant, request)
    // A bill of one piece is known to be right or wrong before anything of it is passed on.
    await once(csv, 'readable')
    return { status: 'open', csv }
  }
}
