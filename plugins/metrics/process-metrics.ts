/** What the process is like: event loop, heap, garbage collection. One registry for all gateways of a process. */
import { collectDefaultMetrics, Registry } from '@prometheus-io/client'

let collected: Registry | undefined

/**
 * The library's default metrics. It cannot stop collecting them, so that starts once in a process, and ends with it; its
 * timers do not keep the process alive.
 */
export function processMetrics(): Registry {
  if (collected !== undefined) return collected
  collected = new Registry()
  collectDefaultMetrics({ register: collected })
  return collected
}
