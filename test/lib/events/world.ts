/** What the tests of events share: their own queue on a real Redis, and a receiver that answers as a test wants. */
import { createHmac, randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import { type DeliveryOptions, type DeliveryReport, startDelivery } from '../../../lib/events/delivery.ts'
import { type Event, QUEUE_NAME, type QueuedEvent } from '../../../lib/events/model.ts'
import { EventRecorder } from '../../../lib/events/recorder.ts'
import { connectPatient, connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { LazyQueue } from '../../../lib/redis/queue.ts'
import type { Worker } from '../../../lib/redis/worker.ts'
import type { PrivateRedis } from '../../../tools/redis.ts'
import { sharedRedis } from '../../helper.ts'
import { listenFor } from '../../listen.ts'

export interface Post {
  id: string
  headers: IncomingHttpHeaders
  body: string
}

export interface Receiver {
  url: string
  posts: Post[]
  /** Resolves when there are `count` posts in total. */
  came(count: number): Promise<void>
}

export type Respond = (response: ServerResponse, post: Post, nth: number) => unknown

/** `respond` gets each post with its number, from 1. */
export async function receive(t: Test, respond: Respond): Promise<Receiver> {
  const posts: Post[] = []
  const arrivals = new EventEmitter().setMaxListeners(0)
  const { origin } = await listenFor(t, async (request, response) => {
    const post = { id: String(request.headers['webhook-id']), headers: request.headers, body: await text(request) }
    posts.push(post)
    respond(response, post, posts.length)
    arrivals.emit('post')
  })
  return {
    url: `${origin}/hooks?from=wxgate`,
    posts,
    async came(count) {
      while (posts.length < count) await once(arrivals, 'post')
    }
  }
}

export interface Started {
  delivery: Worker
  tries: DeliveryReport[]
  redis: Redis
  /** Cuts it off from Redis for ever: it can neither renew its claims nor note how its posts end. */
  die(): void
}

export interface EventWorld {
  recorder: EventRecorder
  /** The connection that the recorder uses. */
  redis: Redis
  secret: string
  start(url: string, options?: Partial<DeliveryOptions>): Started
  /** How many events are in `waiting`, `active`, `delayed`, `completed`, `failed`. */
  counts(): Promise<Record<string, number>>
  /** Repeats until the counts are as wanted. */
  until(wanted: Record<string, number>): Promise<void>
}

export async function eventWorld(t: Test, own?: PrivateRedis): Promise<EventWorld> {
  const { url } = own ?? (await sharedRedis())
  const prefix = `t${randomBytes(4).toString('hex')}:{events}`
  const redis = connectPrompt(url, () => undefined)
  await settled(redis, 1000)
  const queue = new LazyQueue<QueuedEvent>(redis, prefix, QUEUE_NAME)
  const recorder = new EventRecorder({ redis, prefix, queue, durability: undefined })
  t.teardown(async () => {
    await queue.close()
    redis.disconnect()
  })
  const secret = `whsec_${randomBytes(32).toString('base64')}`

  async function counts(): Promise<Record<string, number>> {
    const key = (name: string) => `${prefix}:webhook:${name}`
    return {
      waiting: await redis.llen(key('wait')),
      active: await redis.llen(key('active')),
      delayed: await redis.zcard(key('delayed')),
      completed: await redis.zcard(key('completed')),
      failed: await redis.zcard(key('failed'))
    }
  }

  return {
    recorder,
    redis,
    secret,
    start(receiver, { times, ...options } = {}) {
      const tries: DeliveryReport[] = []
      const patient = connectPatient(url, () => undefined)
      const connections = [patient]
      const duplicate = patient.duplicate.bind(patient)
      patient.duplicate = (...args) => {
        const copy = duplicate(...args)
        connections.push(copy)
        return copy
      }
      const delivery = startDelivery({
        redis: patient,
        prefix,
        url: receiver,
        secrets: [secret],
        concurrency: 50,
        onTry: (report) => tries.push(report),
        onError: () => undefined,
        now: Date.now,
        times: { pauseMs: () => 20, closeMs: 200, ...times },
        ...options
      })
      t.teardown(async () => {
        await delivery.close()
        patient.disconnect()
      })
      const die = () => {
        for (const connection of connections) connection.disconnect()
      }
      return { delivery, tries, redis: patient, die }
    },
    counts,
    async until(wanted) {
      const fits = (now: Record<string, number>) => Object.entries(wanted).every(([name, count]) => now[name] === count)
      while (!fits(await counts()));
    }
  }
}

export const event = (id: string, change: Partial<Event> = {}): Event => ({
  id,
  type: 'payment.succeeded',
  timestamp: '2025-01-01T00:01:05.000Z',
  data: { outTradeNo: id, attach: '茶 "quoted"' },
  content: '100 CNY',
  ...change
})

/** Standard Webhooks by hand: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body` under the secret's bytes. */
export function signatureOf({ headers, body }: Post, secret: string): string {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const text = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
  return `v1,${createHmac('sha256', key).update(text).digest('base64')}`
}
