/**
 * `app.events` records what happened, `app.recordedEvents` shows it; where this instance is a worker and there is a
 * receiver, it delivers too.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { type DeliveryReport, startDelivery } from '../lib/events/deliver.ts'
import { createDurability, type Durability } from '../lib/events/durability.ts'
import { createRecordedEvents, type RecordedEvents } from '../lib/events/listing.ts'
import { lazyQueue, QUEUE_NAME } from '../lib/events/open-queue.ts'
import { createEventRecorder, type EventRecorder } from '../lib/events/queue.ts'
import type { ProxySettings } from '../lib/http/proxy.ts'
import { eventKeys } from '../lib/redis/keys.ts'
import { SettingsError } from '../lib/settings/issues.ts'

const MINUTE_MS = 60_000

export interface EventsOptions {
  /** undefined: events wait in Redis. */
  webhook: { url: string; secrets: readonly string[] } | undefined
  proxy: ProxySettings
  worker: boolean
  /** fsync: nothing counts as recorded before it is on Redis' disk. */
  durability: 'redis' | 'fsync'
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    events: EventRecorder
    recordedEvents: RecordedEvents
    /** Where what is acknowledged has to be on disk first. */
    durability: Durability | undefined
  }
}

export default fp<EventsOptions>(
  async (app: FastifyInstance, { webhook, proxy, worker, durability, now }) => {
    const { redis, keys } = app
    const queue = lazyQueue(redis, keys.eventQueue)
    const onDisk: { durability?: Durability } = durability === 'fsync' ? { durability: await promiseDisk(app) } : {}
    const recorder = createEventRecorder(redis, keys.eventQueue, { queue, ...onDisk })
    app.decorate('events', recorder)
    app.decorate('durability', onDisk.durability)
    app.decorate('recordedEvents', createRecordedEvents(redis, keys.eventQueue, queue))
    app.addHook('onClose', () => recorder.close())
    if (webhook !== undefined && worker) deliver(app, { ...webhook, proxy }, now)
  },
  { name: 'events', dependencies: ['meters', 'redis'], fastify: '5.x' }
)

/**
 * Throws SettingsError where Redis is there and cannot promise it. Where it is away, or comes back as another one, the
 * log says so then, and callbacks are answered 503 until it is set right: no success is told that is not true.
 */
async function promiseDisk(app: FastifyInstance): Promise<Durability> {
  const { redis, keys } = app
  const durability = createDurability({ redis, mark: eventKeys(keys.eventQueue, QUEUE_NAME).onDisk })
  app.addHook('onClose', async () => durability.close())
  if ((await app.redisReadiness.check()) === undefined) await durability.check()
  redis.on('ready', () => {
    durability.check().catch((error: Error) => {
      if (error instanceof SettingsError) app.log.error({ detail: error.message }, 'events are not recorded')
    })
  })
  return durability
}

function deliver(
  app: FastifyInstance,
  webhook: { url: string; secrets: readonly string[]; proxy: ProxySettings },
  now: () => number
): void {
  const redis = app.openWorkerRedis()
  const delivery = startDelivery({
    redis,
    prefix: app.keys.eventQueue,
    ...webhook,
    now,
    onTry: (report) => tellTry(app, report),
    onError: warnSeldom(app)
  })
  // Deliveries end while requests do: waiting for them first would keep the listener open, answering 503.
  let closed: Promise<void> | undefined
  app.addHook('preClose', async () => {
    closed = delivery.close()
  })
  app.addHook('onClose', async () => {
    await (closed ?? delivery.close())
    redis.disconnect()
  })
}

/** A Redis that refuses to write fails every step of a worker, ten times a second: each cause is told once a minute. */
function warnSeldom(app: FastifyInstance): (error: Error) => void {
  const toldAt = new Map<string, number>()
  return (error) => {
    const cause = causeOf(error)
    const at = performance.now()
    if (at - (toldAt.get(cause) ?? Number.NEGATIVE_INFINITY) < MINUTE_MS) return
    toldAt.set(cause, at)
    app.log.warn({ cause }, 'delivery of events')
  }
}

/** Redis' own word for what is wrong, such as READONLY; what follows it may quote what was asked of it. */
const causeOf = ({ name, message, code }: NodeJS.ErrnoException): string =>
  (name === 'ReplyError' ? message.split(' ', 1)[0] : code) ?? name

/** A webhook-id holds merchant and transaction numbers, nothing of a person. */
function tellTry(app: FastifyInstance, { id, type, ...outcome }: DeliveryReport): void {
  const taken = outcome.status !== undefined && outcome.status >= 200 && outcome.status < 300
  app.meters.delivery(taken ? 'delivered' : outcome.status === undefined ? 'unanswered' : 'refused')
  app.log[taken ? 'info' : 'warn']({ webhookId: id, type, ...outcome }, taken ? 'event delivered' : 'event not taken')
}
