/**
 * /healthz: the process lives. /readyz: it can serve. Both without a key, since whoever balances the load asks them.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { problemsOf } from '../lib/problem.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Before closing: says "not ready" for as long as a balancer that asks every second needs to notice. At once where
     * none asks.
     */
    drain(): Promise<void>
  }
}

const DRAIN_MS = 2000
const SWEEP_MS = 100
/** A client that asks twice within this time counts as a balancer. */
const PROBED_MS = 10_000

const Fine = Type.Object({ ok: Type.Integer() }, { examples: [{ ok: 1 }] })
const response = { 200: Fine, ...problemsOf() }
/** Asked every second, and silent in the log while all is well. */
const options = { config: { auth: 'none', scope: 'operation' } as const, logLevel: 'warn' as const }

export default fp(
  async (app: FastifyInstance) => {
    let draining = false
    /** When /readyz was asked for the last time but one, and the last time. */
    let probes: [number, number] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]

    app.decorate('drain', async () => {
      draining = true
      if (performance.now() - probes[0] < PROBED_MS) await pause(DRAIN_MS)
    })

    // Node.js looks for idle connections once; those that were busy then would keep the process until their time-out.
    let sweep: NodeJS.Timeout | undefined
    app.addHook('preClose', async () => {
      sweep = setInterval(() => app.server.closeIdleConnections(), SWEEP_MS)
    })
    app.addHook('onClose', async () => clearInterval(sweep))

    const health = { operationId: 'checkHealth', tags: ['operation'], summary: 'The process lives', response }
    app.get('/healthz', { ...options, schema: health }, async function live() {
      return { ok: 1 }
    })

    const readiness = {
      operationId: 'checkReadiness',
      tags: ['operation'],
      summary: 'Redis takes writes and start-up is done',
      response: { ...response, ...problemsOf('REDIS_UNAVAILABLE', 'OVERLOADED') }
    }
    app.get('/readyz', { ...options, schema: readiness }, async function ready() {
      probes = [probes[1], performance.now()]
      if (draining) throw new ServiceError('OVERLOADED', { message: 'This instance is stopping; ask another one' })
      const trouble = await app.redisHealth.checkSometimes()
      if (trouble !== undefined) throw new ServiceError('REDIS_UNAVAILABLE', { detail: trouble.cause })
      return { ok: 1 }
    })
  },
  { name: 'health', dependencies: ['redis'], fastify: '5.x' }
)
