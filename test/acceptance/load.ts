/** Steady load: a fixed number of calls a second, even if earlier ones are not answered yet, and the result of each. */
import { setTimeout as pause } from 'node:timers/promises'

/** One request, checked: it throws when the answer is not the one that it should be. */
export type Call = () => Promise<unknown>

export interface LoadOptions {
  perSecond: number
  /** Taken in turn; a name may stand there several times. */
  calls: readonly (readonly [name: string, call: Call])[]
}

export interface Failure {
  name: string
  message: string
  /** `performance.now()` when it was sent, and when it failed. */
  startedAt: number
  endedAt: number
}

export interface LoadReport {
  requests: number
  failures: Failure[]
  longestMs: number
  seconds: number
}

export interface Load {
  /** So far. */
  report(): LoadReport
  /** Sends no more, and waits for what is under way. */
  stop(): Promise<LoadReport>
}

const TICK_MS = 5

export function startLoad({ perSecond, calls }: LoadOptions): Load {
  const startedAt = performance.now()
  const failures: Failure[] = []
  const underWay = new Set<Promise<void>>()
  let requests = 0
  let longestMs = 0
  let stopped = false

  async function send(name: string, call: Call): Promise<void> {
    const startedAt = performance.now()
    const failed = await call().then(
      () => undefined,
      (error: unknown) => error
    )
    const endedAt = performance.now()
    longestMs = Math.max(longestMs, endedAt - startedAt)
    if (failed !== undefined) failures.push({ name, message: String(failed), startedAt, endedAt })
  }

  /** Sends all calls that are due by now, so that a late timer loses none. */
  function sendDue(): void {
    const due = Math.floor(((performance.now() - startedAt) / 1000) * perSecond)
    for (; requests < due; requests++) {
      const [name, call] = calls[requests % calls.length] as (typeof calls)[number]
      const sent = send(name, call).finally(() => underWay.delete(sent))
      underWay.add(sent)
    }
  }

  async function run(): Promise<void> {
    while (!stopped) {
      sendDue()
      await pause(TICK_MS)
    }
    await Promise.all(underWay)
  }

  const running = run()
  const report = (): LoadReport => ({ requests, failures, longestMs, seconds: (performance.now() - startedAt) / 1000 })
  return {
    report,
    async stop() {
      stopped = true
      await running
      return report()
    }
  }
}

/** One line for people, and one more for each failure of the first twenty. */
export function describe({ requests, failures, longestMs, seconds }: LoadReport): string {
  const counts = `${requests} requests in ${seconds.toFixed(1)} s, ${failures.length} failed`
  const lines = failures.slice(0, 20).map(({ name, message, startedAt, endedAt }) => {
    return `  ${name} after ${Math.round(endedAt - startedAt)} ms: ${message}`
  })
  return [`${counts}, longest ${Math.round(longestMs)} ms`, ...lines].join('\n')
}
