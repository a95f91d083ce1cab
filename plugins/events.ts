/**
 * `app.events` records what happened and shows it. Where this instance is a worker and there is a receiver, it delivers
 * too.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { type DeliveryReport, startDelivery } from '../lib/events/delivery.ts'
import { EventHistory } from '../lib/events/history.ts'
import { QUEUE_NAME, type QueuedEvent } from '../lib/events/model.ts'
import { EventRecorder } from '../lib/events/recorder.ts'
import { Durability } from '../lib/redis/durability.ts'
import { eventKeys } from '../lib/redis/keys.ts'
import { LazyQueue } from '../lib/redis/queue.ts'
import { Issues } from '../lib/settings/issues.ts'
import type { Settings } from '../lib/settings/model.ts'

export type EventsOptions = Settings['events'] & { now: () => number }

export interface Events {
  recorder: EventRecorder
  history: EventHistory
  /** undefined if success may be answered before the event is on disk. */
  durability: Durability | undefined
}

declare module 'fastify' {
  interface FastifyInstance {
    events: Events
  }
}

export default fp<EventsOptions>(
  async (app: FastifyInstance, { webhook, proxy, concurrency, worker, durability: promise, now }) => {
    const { redis, keys } = app
    const prefix = keys.eventQueue
    const queue = new LazyQueue<QueuedEvent>(redis, prefix, QUEUE_NAME)
    app.addHook('onClose', () => queue.close())
    const durability = promise === 'fsync' ? await promiseDisk(app) : undefined
    const recorder = new EventRecorder({ redis, prefix, queue, durability })
    app.decorate('events', { recorder, history: new EventHistory({ redis, prefix, queue }), durability })
    if (webhook === undefined || !worker) return
    app.runWorker('delivery of events', (openRedis, onError) =>
      startDelivery({
        redis: openRedis(),
        prefix,
        ...webhook,
        proxy,
        concurrency,
        onTry: (report) => logTry(app, report),
        onError,
        now
      })
    )
  },
  { name: 'events', dependencies: ['meters', 'redis'], fastify: '5.x' }
)

/**
 * Throws SettingsError where Redis is there and cannot promise it. Where it is away, or comes back as another one, the
 * log says so then, and callbacks are answered 503 until it is set right: no success is told that is not true.
 */
async function promiseDisk(app: FastifyInstance): Promise<Durability> {
  const { redis, keys } = app
  const durability = new Durability({ redis, mark: eventKeys(keys.eventQueue, QUEUE_NAME).onDisk })
  app.addHook('onClose', async () => durability.close())
  if ((await app.redisHealth.check()) === undefined) {
    const issues = new Issues()
    const problem = await durability.problem()
    if (problem !== undefined) issues.add('EVENT_DURABILITY', `is fsync, but ${problem}`)
    issues.throwIfAny()
  }
  redis.on('ready', () => {
    durability.problem().then(logProblem, () => undefined)
  })
  return durability

  function logProblem(problem: string | undefined): void {
    if (problem === undefined) return
    app.log.error({ detail: `EVENT_DURABILITY is fsync, but ${problem}` }, 'events are not recorded')
  }
}

/** A webhook-id holds merchant and transaction numbers, nothing of a person. */
function logTry(app: FastifyInstance, { id, type, ...outcome }: DeliveryReport): void {
  const taken = outcome.status !== undefined && outcome.status >= 200 && outcome.status < 300
  app.meters.delivery(taken ? 'delivered' : outcome.status === undefined ? 'unanswered' : 'refused')
  app.log[taken ? 'info' : 'warn']({ webhookId: id, type, ...outcome }, taken ? 'event delivered' : 'event not taken')
}
