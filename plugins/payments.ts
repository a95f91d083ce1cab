/** WeChat Pay: `app.prepay` makes orders, `app.paymentCallbacks` receives what became of them. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createMerchants } from '../lib/pay/merchants.ts'
import { createOrders } from '../lib/pay/orders.ts'
import { createPrepay, type Prepay } from '../lib/pay/prepay.ts'
import { createQuarantine } from '../lib/pay/quarantine.ts'
import { createPaymentCallbacks, type PaymentCallbacks } from '../lib/pay/v2/callback.ts'
import type { Merchant } from '../lib/settings.ts'
import { createUpstream } from '../lib/wechat/http.ts'

export interface PaymentsOptions {
  merchants: readonly Merchant[]
  origins: readonly string[]
  timeoutMs: number
  publicUrl: string
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    prepay: Prepay
    paymentCallbacks: PaymentCallbacks
  }
}

export default fp<PaymentsOptions>(
  async (app: FastifyInstance, { origins, timeoutMs, publicUrl, now, ...options }) => {
    const { redis, keys, sealer, events, meters } = app
    const upstream = createUpstream({ origins, timeoutMs })
    const merchants = createMerchants(options.merchants)
    const orders = createOrders(redis, keys)
    const quarantine = createQuarantine(redis, keys, sealer, now)

    app.decorate('prepay', createPrepay({ merchants, orders, upstream, meters, publicUrl, now }))
    app.decorate('paymentCallbacks', createPaymentCallbacks({ merchants, orders, events, quarantine, meters }))
    app.addHook('onClose', () => upstream.close())
  },
  { name: 'payments', dependencies: ['sessions', 'events', 'meters'], fastify: '5.x' }
)
