/** The meters of one gateway, in a registry of its own: one process may hold several, as tests do. */
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { Meters } from '../../lib/metrics/meters.ts'
import { among, boundApi, boundCode, boundOutcome, boundPosition, boundReason } from './labels.ts'
import { createRequestMeters, type RequestMeters } from './request-meters.ts'

/** What came of one try to deliver an event: taken; answered otherwise; not answered. */
export type DeliveryOutcome = 'delivered' | 'refused' | 'unanswered'

export interface AppMeters extends Meters, RequestMeters {
  readonly registry: Registry
  /** A request was refused with this code of the contract or of Fastify. */
  refusal(code: string): void
  delivery(outcome: DeliveryOutcome): void
}

export interface AppMetersOptions {
  /** The configured ones: no other appid becomes a label. */
  appids: readonly string[]
  version: string
}

const UPSTREAM_BUCKETS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
/** The last one is where a command of Redis is given up. */
const SESSION_READ_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.8]

export function createAppMeters({ appids, version }: AppMetersOptions): AppMeters {
  const registry = new Registry()
  const registers = [registry]
  const boundAppid = among(appids, 'unknown')

  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]) =>
    new Counter({ name: `wxgate_${name}`, help, labelNames, registers })
  const histogram = <T extends string>(name: string, help: string, buckets: number[], labelNames: readonly T[]) =>
    new Histogram({ name: `wxgate_${name}`, help, buckets, labelNames, registers })

  const info = new Gauge({ name: 'wxgate_info', help: 'Always 1', labelNames: ['version'], registers })
  info.set({ version }, 1)

  const requests = createRequestMeters(registry)
  const refusals = counter('refusals_total', 'Requests refused, by code', ['code'])
  const calls = counter('upstream_calls_total', 'Requests to WeChat', ['api', 'outcome'])
  const callDurations = histogram('upstream_call_duration_seconds', 'Requests to WeChat', UPSTREAM_BUCKETS, ['api'])
  const logins = counter('logins_total', 'Login codes presented', ['appid', 'outcome'])
  const refreshes = counter('refreshes_total', 'Refresh tokens presented', ['appid', 'outcome'])
  const renewals = counter('access_token_renewals_total', 'Access tokens asked of WeChat', ['appid', 'outcome'])
  const sessionKeys = counter('session_key_tries_total', 'Data by the held session_key that fitted', ['position'])
  const callbacks = counter('callbacks_total', "WeChat's callbacks", ['door', 'verdict', 'reason'])
  const deliveries = counter('event_deliveries_total', 'Tries to deliver an event', ['outcome'])
  const sessionReads = histogram('session_read_duration_seconds', 'Reads in Redis', SESSION_READ_BUCKETS, [])

  return {
    registry,
    ...requests,

    refusal: (code) => refusals.inc({ code: boundCode(code) }),

    upstreamCall(name, outcome, seconds) {
      const api = boundApi(name)
      calls.inc({ api, outcome: boundOutcome(outcome) })
      callDurations.observe({ api }, seconds)
    },
    login: (appid, outcome) => logins.inc({ appid: boundAppid(appid), outcome }),
    refresh: (appid, outcome) => refreshes.inc({ appid: boundAppid(appid), outcome }),
    accessTokenRenewal: (appid, outcome) => renewals.inc({ appid: boundAppid(appid), outcome }),
    sessionKeyTried: (position) => sessionKeys.inc({ position: boundPosition(position) }),
    callback: (channel, verdict, reason) => callbacks.inc({ door: channel, verdict, reason: boundReason(reason) }),
    sessionRead: (_outcome, seconds) => sessionReads.observe(seconds),
    delivery: (outcome) => deliveries.inc({ outcome })
  }
}
