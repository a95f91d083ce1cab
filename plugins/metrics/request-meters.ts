/** Requests by route. Every request is counted, so a count has to be cheap: labels are made once for each route. */
import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import { boundMethod, boundStatus } from './labels.ts'

export interface RequestMeters {
  /** An answered request; `route` is its pattern, undefined where there is none. */
  request(method: string, route: string | undefined, status: number, seconds: number): void
  /** Nobody was left to answer. */
  abort(method: string, route: string | undefined): void
}

interface Door {
  labels: { method: string; route: string }
  /** Answers since the last scrape, by status: the counter gets them then. */
  answers: Map<number, number>
}

/** Few, since each is one more series for every route: from a read of Redis to the longest that WeChat may take. */
const BUCKETS = [0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]
const NO_ROUTE = '(none)'

export function createRequestMeters(registry: Registry): RequestMeters {
  const registers = [registry]
  const doors = new Map<string, Map<string, Door>>()

  function doorOf(verb: string, route = NO_ROUTE): Door {
    const method = boundMethod(verb)
    const byMethod = doors.get(route) ?? new Map<string, Door>()
    const door = byMethod.get(method) ?? { labels: { method, route: withoutSlash(route) }, answers: new Map() }
    doors.set(route, byMethod.set(method, door))
    return door
  }

  const knownDoor = (method: string, route = NO_ROUTE) => doors.get(route)?.get(method) ?? doorOf(method, route)

  new Counter({
    name: 'wxgate_http_requests_total',
    help: 'Answered requests',
    labelNames: ['method', 'route', 'status'],
    registers,
    collect() {
      for (const { labels, answers } of [...doors.values()].flatMap((byMethod) => [...byMethod.values()])) {
        for (const [status, count] of answers) this.inc({ ...labels, status: boundStatus(status) }, count)
        answers.clear()
      }
    }
  })
  const durations = new Histogram({
    name: 'wxgate_http_request_duration_seconds',
    help: 'From its head until the answer is sent',
    labelNames: ['method', 'route'],
    buckets: BUCKETS,
    registers
  })
  const aborts = new Counter({
    name: 'wxgate_http_requests_aborted_total',
    help: 'Requests whose client was gone before the answer was ready',
    labelNames: ['method', 'route'],
    registers
  })

  return {
    request(method, route, status, seconds) {
      const { labels, answers } = knownDoor(method, route)
      answers.set(status, (answers.get(status) ?? 0) + 1)
      durations.observe(labels, seconds)
    },
    abort: (method, route) => aborts.inc(knownDoor(method, route).labels)
  }
}

/** Every door is served with and without a slash at its end. */
const withoutSlash = (route: string): string => (route.endsWith('/') && route.length > 1 ? route.slice(0, -1) : route)
