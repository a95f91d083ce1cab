/** Requests by route. Every request is counted, so a count has to be cheap: labels are made once for each route. */
import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import { boundMethod, boundStatus } from './labels.ts'

interface Route {
  labels: { method: string; route: string }
  /** Answers since the last scrape, by status: the counter gets them then. */
  answers: Map<number, number>
}

/** Few, since each is one more series for every route: from a read of Redis to the longest that WeChat may take. */
const BUCKETS = [0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]
const NO_ROUTE = '(none)'

export class RequestMeters {
  /** By the pattern of the route, then by the method. */
  readonly #routes = new Map<string, Map<string, Route>>()
  readonly #durations: Histogram<'method' | 'route'>
  readonly #aborts: Counter<'method' | 'route'>

  constructor(registry: Registry) {
    const registers = [registry]
    const labelNames = ['method', 'route'] as const
    const routes = this.#routes
    new Counter({
      name: 'wxgate_http_requests_total',
      help: 'Answered requests',
      labelNames: ['method', 'route', 'status'],
      registers,
      collect() {
        for (const { labels, answers } of [...routes.values()].flatMap((byMethod) => [...byMethod.values()])) {
          for (const [status, count] of answers) this.inc({ ...labels, status: boundStatus(status) }, count)
          answers.clear()
        }
      }
    })
    this.#durations = new Histogram({
      name: 'wxgate_http_request_duration_seconds',
      help: 'From its head until the answer is sent',
      labelNames,
      buckets: BUCKETS,
      registers
    })
    this.#aborts = new Counter({
      name: 'wxgate_http_requests_aborted_total',
      help: 'Requests whose client was gone before the answer was ready',
      labelNames,
      registers
    })
  }

  /** An answered request; `route` is its pattern, undefined where there is none. */
  request(method: string, route: string | undefined, status: number, seconds: number): void {
    const { labels, answers } = this.#routeOf(method, route)
    answers.set(status, (answers.get(status) ?? 0) + 1)
    this.#durations.observe(labels, seconds)
  }

  /** Nobody was left to answer. */
  abort(method: string, route: string | undefined): void {
    this.#aborts.inc(this.#routeOf(method, route).labels)
  }

  #routeOf(method: string, route = NO_ROUTE): Route {
    return this.#routes.get(route)?.get(method) ?? this.#add(method, route)
  }

  #add(verb: string, route: string): Route {
    const method = boundMethod(verb)
    const byMethod = this.#routes.get(route) ?? new Map<string, Route>()
    const made = byMethod.get(method) ?? { labels: { method, route: withoutSlash(route) }, answers: new Map() }
    this.#routes.set(route, byMethod.set(method, made))
    return made
  }
}

/** Every route is served with and without a slash at its end. */
const withoutSlash = (route: string): string => (route.endsWith('/') && route.length > 1 ? route.slice(0, -1) : route)
