/** A callback of WeChat Pay by either API: what its protocol reads is matched with our settings and our order. */
import {
  type Callback,
  type Channel,
  type Finding,
  type KeptFinding,
  type Reading,
  reasonOf
} from '../callbacks/model.ts'
import type { Merchant } from '../settings/model.ts'
import { contentHash } from '../util/bytes.ts'
import type { Ledger } from './ledger.ts'
import { mismatchOf } from './match.ts'
import type { Merchants } from './merchants.ts'
import type { NoticeReader, PayNotice, UnsignedRefund } from './model.ts'
import type { Orders } from './records.ts'

/** Has WeChat say whether a refund is what its unsigned notice says. */
export type ConfirmRefund = (refund: UnsignedRefund, merchant: Merchant, callback: Callback) => Promise<Finding>

export interface PayChannelOptions {
  merchants: Pick<Merchants, 'find'>
  orders: Pick<Orders, 'find'>
  ledger: Pick<Ledger, 'follow'>
  /** Where refunds come unsigned. */
  confirm?: ConfirmRefund
  /** Milliseconds since 1970. */
  now: () => number
}

export class PayChannel implements Channel {
  readonly name: Channel['name']
  readonly success: Channel['success']
  readonly failure: Channel['failure']
  readonly statuses: Channel['statuses']
  readonly proofOf: Channel['proofOf']
  readonly #reader: NoticeReader
  readonly #options: PayChannelOptions

  constructor(reader: NoticeReader, options: PayChannelOptions) {
    this.name = reader.name
    this.success = reader.success
    this.failure = reader.failure
    this.statuses = reader.statuses
    this.proofOf = reader.proofOf
    this.#reader = reader
    this.#options = options
  }

  async read(callback: Callback): Promise<Reading> {
    const merchant = this.#options.merchants.find(callback.owner)
    const read = merchant && (await this.#reader.read(merchant, callback))
    if (merchant === undefined || read === undefined) return { finding: { status: 'unknown-merchant' } }
    return { finding: await this.#match(read.notice, merchant, callback), log: read.log }
  }

  async #match(notice: PayNotice, merchant: Merchant, callback: Callback): Promise<Finding> {
    switch (notice.status) {
      case 'refused':
        return notice
      case 'malformed':
        return nameless(callback, notice.reason)
      case 'other':
        return { ...nameless(callback, 'other-event'), status: 'other' }
      case 'not-success': {
        const mismatch = mismatchOf(notice.said, merchant)
        return mismatch === undefined ? { status: 'not-success' } : nameless(callback, mismatch)
      }
      case 'event':
        return this.#matchEvent(notice, merchant)
      case 'unsigned-refund':
        if (this.#options.confirm === undefined) throw new Error(`${this.name} brought an unsigned refund`)
        return this.#options.confirm(notice.refund, merchant, callback)
    }
  }

  async #matchEvent(
    { said, outTradeNo, event }: PayNotice & { status: 'event' },
    { mchid, appids }: Merchant
  ): Promise<Finding> {
    const { orders, ledger, now } = this.#options
    const order = await orders.find(mchid, outTradeNo)
    const made = event(order !== undefined, new Date(now()).toISOString())
    const reason = mismatchOf(said, { mchid, appids, order })
    if (reason !== undefined) return { status: 'quarantined', id: made.id, reason }
    return { status: 'event', event: made, recorded: async () => ledger.follow(made) }
  }
}

/** For an authentic callback that does not say what it is about: its bytes, which WeChat repeats as they were. */
const nameless = ({ owner, body }: Callback, reason: string): KeptFinding => ({
  status: 'quarantined',
  id: `notice_${owner}_${contentHash(body)}`,
  reason: reasonOf(reason)
})
