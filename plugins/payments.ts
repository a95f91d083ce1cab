/**
 * WeChat Pay: orders, refunds and bills for the merchant's backend, callbacks from WeChat, and questions where none
 * come.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { retrying } from '../lib/callbacks/retry.ts'
import type { ProxySettings } from '../lib/http/proxy.ts'
import { Upstream } from '../lib/http/upstream.ts'
import { type Bills, createBills } from '../lib/pay/bills.ts'
import { followEvents } from '../lib/pay/follow.ts'
import { createMerchants } from '../lib/pay/merchants.ts'
import { createOrderBook, type OrderBook } from '../lib/pay/order-book.ts'
import { createOrders } from '../lib/pay/orders.ts'
import { createPrepay, type Prepay } from '../lib/pay/prepay.ts'
import { createRefundRecords } from '../lib/pay/refund-records.ts'
import { createRefunds, type Refunds } from '../lib/pay/refunds.ts'
import { createPayApiV2 } from '../lib/pay/v2/api.ts'
import { createPaymentCallbacks, type PaymentCallbacks } from '../lib/pay/v2/callback.ts'
import { createRefundCallbacks, type RefundCallbacks } from '../lib/pay/v2/refund-callback.ts'
import { createRefundConfirmations } from '../lib/pay/v2/refund-confirmations.ts'
import { createSecureUpstreams } from '../lib/pay/v2/secure-upstreams.ts'
import { createPaymentCallbacksV3, type PaymentCallbacksV3 } from '../lib/pay/v3/callback.ts'
import { createPayV3, type PayV3 } from '../lib/pay/v3/pay-v3.ts'
import type { Renewal } from '../lib/pay/v3/renewal.ts'
import { createWatchList, NO_WATCH_LIST } from '../lib/pay/watch-list.ts'
import { createWatchTimes } from '../lib/pay/watch-times.ts'
import type { Merchant } from '../lib/settings.ts'
import { reconcile } from './payments/reconciling.ts'

export interface PaymentsOptions {
  merchants: readonly Merchant[]
  origins: readonly string[]
  timeoutMs: number
  proxy: ProxySettings
  publicUrl: string
  reconcile: { enabled: boolean; firstMs: number }
  worker: boolean
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    prepay: Prepay
    orderBook: OrderBook
    refunds: Refunds
    bills: Bills
    paymentCallbacks: PaymentCallbacks
    refundCallbacks: RefundCallbacks
    paymentCallbacksV3: PaymentCallbacksV3
    payV3: PayV3
  }
}

export default fp<PaymentsOptions>(
  async (app: FastifyInstance, { origins, timeoutMs, proxy, publicUrl, now, ...options }) => {
    const { redis, keys, sealer, meters, callbacks } = app
    const { quarantine } = callbacks
    const upstream = new Upstream({ origins, timeoutMs, proxy })
    const secure = createSecureUpstreams({ origins, timeoutMs, proxy })
    const v2 = createPayApiV2({ upstream, secureUpstreamFor: secure.of, meters, publicUrl, now })
    const merchants = createMerchants(options.merchants)
    const orders = createOrders(redis, keys)
    const refundRecords = createRefundRecords(redis, keys)
    const { enabled, firstMs } = options.reconcile
    const watchList = enabled ? createWatchList(redis, keys) : NO_WATCH_LIST
    const times = createWatchTimes(firstMs)
    const events = followEvents(app.events, { orders, refunds: refundRecords, watchList })

    app.decorate('paymentCallbacks', createPaymentCallbacks({ merchants, orders, events, quarantine, meters }))
    const retriedV2 = createPaymentCallbacks({ merchants, orders, events, ...retrying })
    callbacks.register('pay-v2', ({ owner, body }) => retriedV2.receive(owner, body))

    let renewal: Renewal | undefined
    const warnOfCertificates = (mchid: string, error: unknown) => {
      const { code, detail } = app.asPublicError(error) as { code: string; detail?: string }
      if (renewal?.stopped !== true)
        app.log.warn({ mchid, code, detail }, "WeChat's platform certificates could not be fetched")
    }
    const payV3 = createPayV3({
      ...{ merchants: options.merchants, upstream, timeoutMs, publicUrl, redis, keys, sealer, meters, now },
      onFailure: warnOfCertificates
    })
    app.decorate('payV3', payV3)
    app.decorate(
      'paymentCallbacksV3',
      createPaymentCallbacksV3({ ...payV3, merchants, orders, events, quarantine, meters, now })
    )
    callbacks.register('pay-v3', app.paymentCallbacksV3.retry)
    const confirmations = createRefundConfirmations(redis, keys.refundConfirmations, app.durability)
    const refundDoor = {
      ...{ merchants, orders, events, quarantine, confirmations, meters, now },
      apis: { v2, v3: payV3.api }
    }
    app.decorate('refundCallbacks', createRefundCallbacks(refundDoor))
    const retriedRefunds = createRefundCallbacks({ ...refundDoor, ...retrying })
    callbacks.register('pay-v2-refund', ({ owner, body }) => retriedRefunds.receive(owner, body))
    app.addHook('onClose', () => confirmations.close())

    const apis = { v2, v3: payV3.api }
    const common = { merchants, apis, orders, now }
    app.decorate('prepay', createPrepay({ ...common, watchList, times }))
    app.decorate('orderBook', createOrderBook({ ...common, watchList }))
    app.decorate('refunds', createRefunds({ ...common, records: refundRecords, watchList, times }))
    app.decorate('bills', createBills(common))
    // Before the connections to WeChat, and so closed after them: what is being asked then ends at once.
    if (enabled && options.worker)
      reconcile(app, { ...common, refunds: refundRecords, events, watchList, times, firstMs })

    // Nothing waits for it: the service starts without certificates, and without WeChat.
    app.addHook('onReady', async () => {
      renewal = payV3.startRenewal()
    })
    app.addHook('preClose', async () => renewal?.stop())
    app.addHook('onClose', () => Promise.all([upstream.close(), secure.close()]))
  },
  { name: 'payments', dependencies: ['sessions', 'events', 'meters', 'callbacks'], fastify: '5.x' }
)
