/** /metrics: what Prometheus scrapes, for holders of an API key; what only Redis knows is asked while it waits. */
import { setTimeout as pause } from 'node:timers/promises'
import { collectDefaultMetrics, Gauge, Registry, register } from '@prometheus-io/client'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { problemsOf } from '../lib/problem.ts'

/** Prometheus waits ten seconds by default; a Redis that hangs must not make the rest late. */
const PATIENCE_MS = 500

const schema = {
  operationId: 'getMetrics',
  tags: ['operation'],
  summary: "Meters in Prometheus' text format",
  produces: ['text/plain'],
  response: { 200: Type.String(), ...problemsOf('TOKEN_MISSING', 'TOKEN_INVALID', 'KEY_SCOPE') }
}

export default fp(
  async (app: FastifyInstance) => {
    const { registry } = app.meters
    const ask = createQuestions(app)
    const all = Registry.merge([registry, processMetrics()])

    // Scraped every few seconds, and silent in the log while all is well.
    const options = {
      config: { auth: 'internal', scope: 'operation', keyScope: 'read' } as const,
      logLevel: 'warn' as const,
      schema
    }
    app.get('/metrics', options, async function metrics(_request, reply) {
      await ask()
      return reply.type(all.contentType).send(await all.metrics())
    })
  },
  { name: 'metrics', dependencies: ['auth', 'events', 'meters', 'redis'], fastify: '5.x' }
)

/**
 * What the process is like: event loop, heap, garbage collection. The library cannot stop collecting that, so it starts
 * once in a process and fills the library's own registry, which all gateways of a process share.
 */
function processMetrics(): Registry {
  if (register.getMetricsAsArray().length === 0) collectDefaultMetrics()
  return register
}

/**
 * Fills the gauges of Redis and of the queue. What did not come in time has no value: an old one would pass for a new
 * one.
 */
function createQuestions({ meters, redis, redisHealth, events: { recorder } }: FastifyInstance): () => Promise<void> {
  const registers = [meters.registry]
  const up = new Gauge({ name: 'wxgate_redis_up', help: 'Whether Redis does what is needed of it', registers })
  const ping = new Gauge({ name: 'wxgate_redis_ping_seconds', help: 'How long Redis took to answer a PING', registers })
  const queue = new Gauge({ name: 'wxgate_events', help: 'Events in the queue', labelNames: ['state'], registers })

  return async () => {
    const [isUsable, seconds, counts] = await Promise.all([
      inTime(async () => (await redisHealth.check()) === undefined),
      inTime(() => timed(redis.ping())),
      inTime(() => recorder.counts())
    ])
    up.set(isUsable ? 1 : 0)
    if (seconds === undefined) ping.remove()
    else ping.set(seconds)
    queue.reset()
    for (const [state, count] of Object.entries(counts ?? {})) queue.set({ state }, count)
  }
}

async function timed(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work
  return (performance.now() - startedAt) / 1000
}

/** undefined where it failed or took too long. */
async function inTime<T>(work: () => Promise<T>): Promise<T | undefined> {
  const deadline = new AbortController()
  const late = pause(PATIENCE_MS, undefined, { signal: deadline.signal }).catch(() => undefined)
  const done = work().catch(() => undefined)
  const result = await Promise.race([done, late])
  deadline.abort()
  return result
}
