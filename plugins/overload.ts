/** Answers 503 when the process cannot keep up, before latency or memory get out of hand. */
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import underPressure from '@fastify/under-pressure'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { scopeOf } from './auth.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** It answers also when the process cannot keep up: it costs nothing, and others depend on it. */
    evenOverloaded?: boolean
  }
}

export interface OverloadLimits {
  /** Milliseconds that timers are late, on the mean of one sample. */
  maxEventLoopDelayMs: number
  maxHeapUsedBytes: number
  /** Resident memory, which has what bodies and answers take besides the heap. */
  maxRssBytes: number
  /** Milliseconds. */
  sampleIntervalMs: number
}

/**
 * A second: a healthy loop is late by a few milliseconds, and callers wait up to five seconds for WeChat anyway; what
 * is later has more to do than it gets done. At nine tenths of V8's limit the process spends its time on collecting
 * garbage, and would end at ten; at ten tenths of what the container or the machine has the kernel ends it.
 */
const LIMITS: OverloadLimits = {
  maxEventLoopDelayMs: 1000,
  maxHeapUsedBytes: Math.floor(0.9 * getHeapStatistics().heap_size_limit),
  maxRssBytes: Math.floor(0.9 * memoryLimit()),
  sampleIntervalMs: 1000
}

/** Bytes that the process may have resident: what its container has, or else the machine. */
function memoryLimit(): number {
  // 0 where nothing is known of a limit, and more than there is where there is none.
  return Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())
}

/** Health, readiness and metrics answer all the same: they tell what is wrong. Where no route is, a 404 costs less. */
function refuse(request: FastifyRequest): void {
  const scope = scopeOf(request)
  if (scope === undefined || scope === 'operation' || request.routeOptions.config.evenOverloaded) return
  throw new ServiceError('OVERLOADED')
}

export default fp<Partial<OverloadLimits>>(
  async (app: FastifyInstance, limits) => {
    const { maxEventLoopDelayMs, maxHeapUsedBytes, maxRssBytes, sampleIntervalMs } = { ...LIMITS, ...limits }
    await app.register(underPressure, {
      maxEventLoopDelay: maxEventLoopDelayMs,
      maxHeapUsedBytes,
      maxRssBytes,
      sampleInterval: sampleIntervalMs,
      exposeStatusRoute: false,
      // A promise, since the library does not expect it to throw.
      pressureHandler: async (request) => refuse(request)
    })
  },
  { name: 'overload', dependencies: ['errors', 'headers'], fastify: '5.x' }
)
