/** The work of asking: takes what is due, asks WeChat with bounded parallelism, and says when to ask again. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Checked } from './reconcile.ts'
import type { Watched, WatchList } from './watch-list.ts'
import type { WatchTimes } from './watch-times.ts'

/** At once, of one instance. WeChat takes some 600 queries a second of a merchant. */
const PARALLEL = 10
/**
 * Who takes an entry has it for so long, and as long as what is added waits; a query and its repetitions end far
 * sooner.
 */
const HELD_MS = 60_000
/** What another instance adds or gives back is seen after so long at the latest. */
const LONGEST_SLEEP_MS = 5000
const SHORTEST_SLEEP_MS = 20
/** After a failure of the connection to Redis, which itself comes back within a second. */
const RETRY_MS = 1000

export interface ReconcileReport extends Watched {
  status: Checked['status']
  /** An event was recorded that no callback had brought. */
  found?: boolean
  reason?: string
}

export interface ReconcileWorkerOptions {
  watchList: WatchList
  check: (entry: Watched) => Promise<Checked>
  times: WatchTimes
  /** Nothing that is added is due sooner. */
  firstMs: number
  onChecked: (report: ReconcileReport) => void
  onError: (error: Error) => void
  /** Milliseconds since 1970. */
  now: () => number
}

export interface ReconcileWorker {
  /** Takes no more, and waits for the questions under way. Never rejects. */
  close(): Promise<void>
}

export function startReconciling(options: ReconcileWorkerOptions): ReconcileWorker {
  const closing = new AbortController()
  const running = run(options, closing.signal)
  return {
    async close() {
      closing.abort()
      await running
    }
  }
}

/** One slow answer holds nobody else up. */
async function run(options: ReconcileWorkerOptions, closing: AbortSignal): Promise<void> {
  const underWay = new Set<Promise<void>>()
  while (!closing.aborted) {
    const { taken, sleepMs } = await take(options, PARALLEL - underWay.size)
    for (const each of taken) {
      const handled = handle(each, options).finally(() => underWay.delete(handled))
      underWay.add(handled)
    }
    if (underWay.size === PARALLEL) await Promise.race(underWay)
    else if (taken.length === 0) await pause(sleepMs, undefined, { signal: closing }).catch(() => undefined)
  }
  await Promise.all(underWay)
}

interface Taken {
  entry: Watched
  untilMs: number
}

/** What is due, and how long to sleep where nothing is. */
async function take(options: ReconcileWorkerOptions, most: number): Promise<{ taken: Taken[]; sleepMs: number }> {
  const { watchList, times, firstMs, now, onError } = options
  try {
    const untilMs = Math.max(times.first('order', now()), times.first('refund', now())) + HELD_MS
    const { entries, nextMs = Number.POSITIVE_INFINITY } = await watchList.take(now(), untilMs, most)
    const sleepMs = Math.max(SHORTEST_SLEEP_MS, Math.min(nextMs - now(), firstMs, LONGEST_SLEEP_MS))
    return { taken: entries.map((entry) => ({ entry, untilMs })), sleepMs }
  } catch (error) {
    onError(error as Error)
    return { taken: [], sleepMs: RETRY_MS }
  }
}

/** One entry that cannot be handled stays with us until its time is over, and hinders no other. */
async function handle({ entry, untilMs }: Taken, options: ReconcileWorkerOptions): Promise<void> {
  const { watchList, check, onChecked, onError } = options
  try {
    const checked = await check(entry)
    await watchList.giveBack(entry, untilMs, dueAfter(checked, options))
    onChecked(reportOf(entry, checked))
  } catch (error) {
    onError(error as Error)
  }
}

function dueAfter(checked: Checked, { times, now }: ReconcileWorkerOptions): number | undefined {
  if (checked.status === 'settled') return undefined
  return times[checked.status === 'open' ? 'next' : 'retry'](checked.waiting, now())
}

function reportOf(entry: Watched, checked: Checked): ReconcileReport {
  const { status } = checked
  return {
    ...entry,
    status,
    ...(status === 'settled' && { found: checked.found }),
    ...(status === 'failed' && { reason: checked.reason })
  }
}
