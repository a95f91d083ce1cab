/**
 * `app.pay`, WeChat Pay: orders, refunds and bills for the merchant's backend, and callbacks from WeChat. A worker also
 * asks about orders that stayed silent, and has refund notices confirmed.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ERRORS, type ErrorCode } from '../lib/errors.ts'
import { Pay, type PayOptions } from '../lib/pay/index.ts'
import type { ReconcileReport } from '../lib/pay/reconcile-worker.ts'
import type { ConfirmationReport } from '../lib/pay/refund-confirmations.ts'
import { throttle } from '../lib/util/throttle.ts'
import { asPublicError } from './errors.ts'

export interface PaymentsOptions
  extends Pick<PayOptions, 'merchants' | 'origins' | 'timeoutMs' | 'proxy' | 'publicUrl' | 'reconcile' | 'now'> {
  worker: boolean
}

declare module 'fastify' {
  interface FastifyInstance {
    pay: Pay
  }
}

const MINUTE_MS = 60_000
const ASKING = 'asking WeChat about silent orders'

export default fp<PaymentsOptions>(
  async (app: FastifyInstance, { worker, ...options }) => {
    const { redis, keys, sealer, meters, callbacks: intake } = app
    const { recorder: events, durability } = app.events
    let isClosing = false
    const onCertificateFailure = (mchid: string, error: unknown) => {
      const { code, detail } = asPublicError(error) as { code: string; detail?: string }
      if (!isClosing) app.log.warn({ mchid, code, detail }, "WeChat's platform certificates could not be fetched")
    }
    const common = { redis, keys, sealer, meters, events, durability, intake }
    const pay = new Pay({ ...options, ...common, onCertificateFailure })
    app.decorate('pay', pay)

    // Hooks of closing run in reverse: first the calls to WeChat end, so that what waits for one ends at once.
    app.addHook('onClose', () => pay.closeQueue())
    if (worker && options.reconcile.enabled) reconcile(app)
    app.addHook('onClose', () => pay.close())
    if (worker) confirmRefunds(app)

    // Nothing waits for it: the service starts without certificates, and without WeChat.
    let stopRenewal = () => {}
    app.addHook('onReady', async () => {
      stopRenewal = pay.v3.startRenewal()
    })
    app.addHook('preClose', async () => {
      isClosing = true
      stopRenewal()
    })
  },
  { name: 'payments', dependencies: ['sessions', 'events', 'meters', 'callbacks', 'redis'], fastify: '5.x' }
)

function reconcile(app: FastifyInstance): void {
  const warn = throttle(MINUTE_MS, (cause) => app.log.warn({ cause }, ASKING))
  app.runWorker(ASKING, (_openRedis, onError) => app.pay.reconcile((report) => logChecked(app, report, warn), onError))
}

/**
 * Numbers of the merchant's own, nothing of a person. A WeChat that is away is one line a minute, a mismatch always
 * one.
 */
function logChecked({ log }: FastifyInstance, report: ReconcileReport, warn: (cause: string) => void): void {
  const { status, found = false, reason = '', ...entry } = report
  if (found) log.info(entry, 'found by asking WeChat: no callback had come')
  else if (status === 'failed' && isCode(reason)) warn(reason)
  else if (status === 'failed') log.warn({ ...entry, reason }, 'what WeChat answers contradicts our record')
}

/** Else it is the name of what does not match. */
const isCode = (reason: string): reason is ErrorCode => reason in ERRORS

function confirmRefunds(app: FastifyInstance): void {
  app.runWorker('confirmation of refund notices', (openRedis, onError) =>
    app.pay.confirmRefunds(openRedis(), (report) => logSettled(app, report), onError)
  )
}

/** A webhook-id holds merchant and refund numbers, nothing of a person. */
function logSettled({ log }: FastifyInstance, { mchid, verdict, reason, id }: ConfirmationReport): void {
  const facts = { mchid, verdict, reason, webhookId: id }
  if (verdict === 'quarantined') log.error(facts, 'a stored refund notice waits in quarantine')
  else log.info(facts, 'stored refund notice settled')
}
