/** WeChat Pay, put together: what the merchant's backend asks for, the callbacks, and the work beside the requests. */
import type { Redis } from 'ioredis'
import type { CallbackIntake, Stored } from '../callbacks/intake.ts'
import type { CallbackVerdict } from '../callbacks/model.ts'
import type { EventRecorder } from '../events/recorder.ts'
import type { ProxySettings } from '../http/proxy.ts'
import { Upstream } from '../http/upstream.ts'
import type { Durability } from '../redis/durability.ts'
import type { Worker } from '../redis/worker.ts'
import { Bills } from './bills.ts'
import { PayChannel } from './channel.ts'
import { Ledger } from './ledger.ts'
import { Merchants } from './merchants.ts'
import type { PayApis } from './model.ts'
import { OrderBook } from './order-book.ts'
import { type Checked, checkWatched } from './reconcile.ts'
import { type ReconcileReport, startReconciling } from './reconcile-worker.ts'
import { Orders, RefundRecords } from './records.ts'
import { type ConfirmationReport, RefundConfirmations, startRefundConfirmations } from './refund-confirmations.ts'
import { Refunds } from './refunds.ts'
import { PayApiV2 } from './v2/api.ts'
import { paymentNoticesV2, refundNoticesV2 } from './v2/notices.ts'
import { SecureUpstreams } from './v2/secure-upstreams.ts'
import { NoticesV3 } from './v3/notices.ts'
import { type PayOptionsV3, PayV3 } from './v3/pay-v3.ts'
import { NO_WATCH_LIST, RedisWatchList, type Watched, type WatchList, WatchTimes } from './watch-list.ts'

export interface PayOptions extends Omit<PayOptionsV3, 'upstream' | 'onFailure'> {
  /** Of WeChat Pay. */
  origins: readonly string[]
  proxy: ProxySettings
  reconcile: { enabled: boolean; firstMs: number }
  events: Pick<EventRecorder, 'record'>
  /** Where what is acknowledged has to be on disk first. */
  durability: Durability | undefined
  intake: Pick<CallbackIntake, 'register' | 'settle' | 'keep'>
  /** The platform certificates of a merchant could not be fetched. */
  onCertificateFailure: PayOptionsV3['onFailure']
}

/** These do not settle a stored refund notice: a missing key or merchant may be set again. */
const UNSETTLED: ReadonlySet<CallbackVerdict> = new Set(['refused', 'unknown-merchant'])

export class Pay {
  readonly orders: OrderBook
  readonly refunds: Refunds
  readonly bills: Bills
  readonly v3: PayV3
  readonly #options: PayOptions
  readonly #upstream: Upstream
  readonly #secure: SecureUpstreams
  readonly #confirmations: RefundConfirmations
  /** Refund notices that were answered before they were confirmed. */
  readonly #stored: PayChannel
  readonly #reconciling: { watchList: WatchList; times: WatchTimes; check: (entry: Watched) => Promise<Checked> }

  constructor(options: PayOptions) {
    const { redis, keys, sealer, meters, publicUrl, timeoutMs, origins, proxy, now } = options
    const { enabled, firstMs } = options.reconcile
    const connections = { origins, timeoutMs, proxy }
    this.#options = options
    this.#upstream = new Upstream(connections)
    this.#secure = new SecureUpstreams(connections)
    const calls = { upstream: this.#upstream, meters, publicUrl, now }
    const { merchants: all, onCertificateFailure: onFailure } = options
    this.v3 = new PayV3({ ...calls, merchants: all, timeoutMs, redis, keys, sealer, onFailure })
    const apis: PayApis = {
      v2: new PayApiV2({ ...calls, secureUpstreamFor: (merchant) => this.#secure.of(merchant) }),
      v3: this.v3.api
    }

    const merchants = new Merchants(all)
    const orders = new Orders(redis, keys)
    const records = new RefundRecords(redis, keys)
    const watchList = enabled ? new RedisWatchList(redis, keys) : NO_WATCH_LIST
    const times = new WatchTimes(firstMs)
    const common = { merchants, apis, orders, watchList, times, now }
    this.orders = new OrderBook(common)
    this.refunds = new Refunds({ ...common, records })
    this.bills = new Bills(common)

    const ledger = new Ledger({ events: options.events, orders, refunds: records, watchList })
    const checking = { ...common, refunds: records, events: ledger }
    this.#reconciling = { watchList, times, check: (entry) => checkWatched(entry, checking) }

    const { durability, intake } = options
    const prefix = keys.refundConfirmations
    const matching = { merchants, orders, ledger, now }
    this.#confirmations = new RefundConfirmations({ redis, prefix, durability, apis, orders, ledger, now })
    const { confirm, confirmSoon } = this.#confirmations
    this.#stored = new PayChannel(refundNoticesV2, { ...matching, confirm })
    intake.register(new PayChannel(paymentNoticesV2, matching))
    intake.register(new PayChannel(refundNoticesV2, { ...matching, confirm: confirmSoon }))
    intake.register(new PayChannel(new NoticesV3(this.v3), matching))
  }

  /**
   * Settles a stored refund notice, with as much time as WeChat needs. Throws where it still cannot be confirmed, or
   * Redis is away; it is to be tried again then.
   */
  async confirmRefund(mchid: string, body: Buffer): Promise<Stored> {
    const stored = await this.#options.intake.settle(this.#stored, this.#callbackOf(mchid, body))
    if (UNSETTLED.has(stored.verdict)) throw new Error(`not settled: ${stored.verdict}`)
    return stored
  }

  /** For one that could not be confirmed for days: it waits in quarantine for a person. Throws where Redis is away. */
  giveUpRefund({ id, mchid, body }: { id: string; mchid: string; body: Buffer }): Promise<Stored> {
    const finding = { status: 'quarantined', id, reason: 'unconfirmed' } as const
    return this.#options.intake.keep(this.#stored, this.#callbackOf(mchid, body), finding)
  }

  /** Asks WeChat about silent orders and refunds, from now on. */
  reconcile(onChecked: (report: ReconcileReport) => void, onError: (error: Error) => void): Worker {
    const { now, reconcile } = this.#options
    return startReconciling({ ...this.#reconciling, firstMs: reconcile.firstMs, onChecked, onError, now })
  }

  /** Has WeChat confirm stored refund notices, from now on. `redis` is a patient connection; it stays the caller's. */
  confirmRefunds(
    redis: Redis,
    onSettled: (report: ConfirmationReport) => void,
    onError: (error: Error) => void
  ): Worker {
    return startRefundConfirmations({
      redis,
      prefix: this.#options.keys.refundConfirmations,
      confirm: (mchid, body) => this.confirmRefund(mchid, body),
      giveUp: (notice) => this.giveUpRefund(notice),
      onSettled,
      onError
    })
  }

  /** Ends every call to WeChat. */
  async close(): Promise<void> {
    await Promise.all([this.#upstream.close(), this.#secure.close()])
  }

  /** Ends the queue of refund notices. */
  closeQueue(): Promise<void> {
    return this.#confirmations.close()
  }

  #callbackOf(owner: string, body: Buffer) {
    return { owner, headers: {}, query: {}, body, receivedAt: this.#options.now() }
  }
}
