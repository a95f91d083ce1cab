/** Gives memory back after a time of load: V8 keeps as much as it needed at most until something is collected. */
import { type EventLoopUtilization, performance } from 'node:perf_hooks'

/** How long it has to be quiet. */
const LOOK_MS = 15_000
/** From so much of the time on in which the event loop has work, it is loaded. */
const LOADED = 0.2
/** Below this it is quiet: a collection makes requests wait for some tenths of a second, and few come now. */
const QUIET = 0.05

export interface AfterLoadOptions {
  /** Collects what is not needed any more. */
  collect: () => void
  lookMs?: number
}

/** Calls `collect` once for each time of load, when it is over. */
export class AfterLoad {
  readonly #collect: () => void
  readonly #timer: NodeJS.Timeout
  #seen: EventLoopUtilization = performance.eventLoopUtilization()
  #wasLoaded = false

  constructor({ collect, lookMs = LOOK_MS }: AfterLoadOptions) {
    this.#collect = collect
    this.#timer = setInterval(() => this.#look(), lookMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#seen)
    this.#seen = now
    if (utilization > LOADED) this.#wasLoaded = true
    if (!this.#wasLoaded || utilization > QUIET) return
    this.#wasLoaded = false
    this.#collect()
    // The collection itself is no load.
    this.#seen = performance.eventLoopUtilization()
  }
}
