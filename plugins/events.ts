/** `app.events`: records what happened; where this instance is a worker and there is a receiver, delivers it too. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { type DeliveryReport, startDelivery } from '../lib/events/deliver.ts'
import { createEventRecorder, type EventRecorder } from '../lib/events/queue.ts'
import { connectPatient } from '../lib/redis/connect.ts'

export interface EventsOptions {
  redisUrl: string
  /** undefined: events wait in Redis. */
  webhook: { url: string; secrets: readonly string[] } | undefined
  worker: boolean
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    events: EventRecorder
  }
}

export default fp<EventsOptions>(
  async (app: FastifyInstance, { redisUrl, webhook, worker, now }) => {
    const recorder = createEventRecorder(app.redis, app.keys.eventQueue)
    app.decorate('events', recorder)
    app.addHook('onClose', () => recorder.close())
    if (webhook !== undefined && worker) deliver(app, redisUrl, webhook, now)
  },
  { name: 'events', dependencies: ['redis'], fastify: '5.x' }
)

function deliver(
  app: FastifyInstance,
  redisUrl: string,
  webhook: { url: string; secrets: readonly string[] },
  now: () => number
): void {
  const redis = connectPatient(redisUrl, () => {
    // plugins/redis.ts says when Redis is away, once for both connections.
  })
  const delivery = startDelivery({
    redis,
    prefix: app.keys.eventQueue,
    ...webhook,
    now,
    onTry: (report) => logTry(app, report),
    onError: (error) => app.log.warn({ cause: error.name }, 'delivery of events')
  })
  app.addHook('preClose', async () => {
    await delivery.close()
    redis.disconnect()
  })
}

/** A webhook-id holds merchant and transaction numbers, nothing of a person. */
function logTry(app: FastifyInstance, { id, type, ...outcome }: DeliveryReport): void {
  const taken = outcome.status !== undefined && outcome.status >= 200 && outcome.status < 300
  app.log[taken ? 'info' : 'warn']({ webhookId: id, type, ...outcome }, taken ? 'event delivered' : 'event not taken')
}
