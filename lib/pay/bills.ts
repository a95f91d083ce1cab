/** The bills of a day, as WeChat wrote them. */
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import type { BillRequest, PayApis } from './api.ts'
import { apiOf, type Merchants } from './merchants.ts'
import type { Hint } from './whose.ts'

export type BillOutcome =
  /** The stream ends with WECHAT_BAD_RESPONSE where the bill is not the one WeChat announced: nothing of it counts then. */
  | { status: 'open'; csv: Readable }
  /** The day has not begun yet in Beijing. */
  | { status: 'future' }

export interface Bills {
  /**
   * Fund flow bills come by v3 only. Throws NOT_FOUND where WeChat has no bill of that day, WECHAT_BUSY while it makes it,
   * APP_UNKNOWN, PAY_REJECTED and the WECHAT_* codes.
   */
  open(request: BillRequest, hint: Hint): Promise<BillOutcome>
}

export interface BillsOptions {
  merchants: Merchants
  apis: PayApis
  /** Milliseconds since 1970. */
  now: () => number
}

const BEIJING_OFFSET_MS = 8 * 3_600_000

export function createBills({ merchants, apis, now }: BillsOptions): Bills {
  const today = () => new Date(now() + BEIJING_OFFSET_MS).toISOString().slice(0, 10)
  return {
    async open(request, { mchid, api }) {
      const merchant = merchants.one(mchid)
      if (request.date > today()) return { status: 'future' }
      const { csv } = await apis[apiOf(merchant, api)].bill(merchant, request)
      // A bill of one piece is known to be right or wrong before anything of it is passed on.
      await once(csv, 'readable')
      return { status: 'open', csv }
    }
  }
}
