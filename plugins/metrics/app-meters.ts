/** The meters of one gateway, in a registry of its own: one process may hold several, as tests do. */
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { Meters, Outcome } from '../../lib/metrics/meters.ts'
import { among, boundApi, boundCode, boundOutcome, boundPosition, boundReason } from './labels.ts'
import { RequestMeters } from './request-meters.ts'

/** What came of one try to deliver an event: taken; answered otherwise; not answered. */
export type DeliveryOutcome = 'delivered' | 'refused' | 'unanswered'

export interface AppMetersOptions {
  /** The configured ones: no other appid becomes a label. */
  appids: readonly string[]
  version: string
}

const UPSTREAM_BUCKETS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
/** The last one is where a command of Redis is given up. */
const SESSION_READ_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.8]

/** All of one gateway. */
export class AppMeters extends RequestMeters implements Meters {
  readonly registry: Registry
  readonly #boundAppid: (appid: string | undefined) => string
  readonly #refusals: Counter<'code'>
  readonly #calls: Counter<'api' | 'outcome'>
  readonly #callDurations: Histogram<'api'>
  readonly #logins: Counter<'appid' | 'outcome'>
  readonly #refreshes: Counter<'appid' | 'outcome'>
  readonly #renewals: Counter<'appid' | 'outcome'>
  readonly #sessionKeys: Counter<'position'>
  readonly #callbacks: Counter<'door' | 'verdict' | 'reason'>
  readonly #deliveries: Counter<'outcome'>
  readonly #sessionReads: Histogram

  constructor({ appids, version }: AppMetersOptions) {
    const registry = new Registry()
    const registers = [registry]
    const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]) =>
      new Counter({ name: `wxgate_${name}`, help, labelNames, registers })
    const histogram = <T extends string>(name: string, help: string, buckets: number[], labelNames: readonly T[]) =>
      new Histogram({ name: `wxgate_${name}`, help, buckets, labelNames, registers })

    const info = new Gauge({ name: 'wxgate_info', help: 'Always 1', labelNames: ['version'], registers })
    info.set({ version }, 1)
    super(registry)
    this.registry = registry
    this.#boundAppid = among(appids, 'unknown')
    this.#refusals = counter('refusals_total', 'Requests refused, by code', ['code'])
    this.#calls = counter('upstream_calls_total', 'Requests to WeChat', ['api', 'outcome'])
    const [durations, buckets] = ['upstream_call_duration_seconds', UPSTREAM_BUCKETS]
    this.#callDurations = histogram(durations, 'Requests to WeChat', buckets, ['api'])
    this.#logins = counter('logins_total', 'Login codes presented', ['appid', 'outcome'])
    this.#refreshes = counter('refreshes_total', 'Refresh tokens presented', ['appid', 'outcome'])
    this.#renewals = counter('access_token_renewals_total', 'Access tokens asked of WeChat', ['appid', 'outcome'])
    this.#sessionKeys = counter('session_key_tries_total', 'Data by the held session_key that fitted', ['position'])
    this.#callbacks = counter('callbacks_total', "WeChat's callbacks", ['door', 'verdict', 'reason'])
    this.#deliveries = counter('event_deliveries_total', 'Tries to deliver an event', ['outcome'])
    this.#sessionReads = histogram('session_read_duration_seconds', 'Reads in Redis', SESSION_READ_BUCKETS, [])
  }

  /** A request was refused with this code of the contract or of Fastify. */
  refusal(code: string): void {
    this.#refusals.inc({ code: boundCode(code) })
  }

  upstreamCall(name: string, outcome: string, seconds: number): void {
    const api = boundApi(name)
    this.#calls.inc({ api, outcome: boundOutcome(outcome) })
    this.#callDurations.observe({ api }, seconds)
  }

  login(appid: string | undefined, outcome: Outcome): void {
    this.#logins.inc({ appid: this.#boundAppid(appid), outcome })
  }

  refresh(appid: string | undefined, outcome: Outcome): void {
    this.#refreshes.inc({ appid: this.#boundAppid(appid), outcome })
  }

  accessTokenRenewal(appid: string, outcome: Outcome): void {
    this.#renewals.inc({ appid: this.#boundAppid(appid), outcome })
  }

  sessionKeyTried(position: number): void {
    this.#sessionKeys.inc({ position: boundPosition(position) })
  }

  callback(channel: string, verdict: string, reason?: string): void {
    this.#callbacks.inc({ door: channel, verdict, reason: boundReason(reason) })
  }

  sessionRead(_outcome: Outcome, seconds: number): void {
    this.#sessionReads.observe(seconds)
  }

  delivery(outcome: DeliveryOutcome): void {
    this.#deliveries.inc({ outcome })
  }
}
