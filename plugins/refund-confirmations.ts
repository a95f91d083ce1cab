/** Where this instance is a worker: has WeChat confirm the refund notices that its doors could only store. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { type ConfirmationReport, startRefundConfirmations } from '../lib/pay/v2/refund-confirmations.ts'

export interface RefundConfirmationsOptions {
  worker: boolean
}

export default fp<RefundConfirmationsOptions>(
  async (app: FastifyInstance, { worker }) => {
    if (!worker) return
    const redis = app.openWorkerRedis()
    const confirmations = startRefundConfirmations({
      redis,
      prefix: app.keys.refundConfirmations,
      confirm: app.refundCallbacks.confirm,
      giveUp: app.refundCallbacks.giveUp,
      onSettled: (report) => tell(app, report),
      onError: () => {
        // As above; what was to be written is tried again.
      }
    })
    let closed: Promise<void> | undefined
    app.addHook('preClose', async () => {
      closed = confirmations.close()
    })
    app.addHook('onClose', async () => {
      await (closed ?? confirmations.close())
      redis.disconnect()
    })
  },
  { name: 'refund-confirmations', dependencies: ['payments', 'redis'], fastify: '5.x' }
)

/** A webhook-id holds merchant and refund numbers, nothing of a person. */
function tell(app: FastifyInstance, { mchid, verdict, reason, id }: ConfirmationReport): void {
  const facts = { mchid, verdict, reason, webhookId: id }
  if (verdict === 'quarantined') app.log.error(facts, 'a stored refund notice waits in quarantine')
  else app.log.info(facts, 'stored refund notice settled')
}
