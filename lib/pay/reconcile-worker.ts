/** The work of asking: takes what is due, asks WeChat with bounded parallelism, and says when to ask again. */
import { PollingWorker, type Taken, type Worker } from '../redis/worker.ts'
import type { Checked } from './reconcile.ts'
import type { Watched, WatchList, WatchTimes } from './watch-list.ts'

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

export interface ReconcileReport extends Watched {
  status: Checked['status']
  /** An event was recorded that no callback had brought; undefined where it is not settled. */
  found: boolean | undefined
  /** Why it failed. */
  reason: string | undefined
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

export function startReconciling(options: ReconcileWorkerOptions): Worker {
  return new PollingWorker<Held>({
    concurrency: PARALLEL,
    take: (most) => take(options, most),
    work: (held) => handle(held, options),
    onError: options.onError
  })
}

/** An entry that is ours until then. */
interface Held {
  entry: Watched
  untilMs: number
}

/** What is due, and how long to sleep where nothing is. */
async function take({ watchList, times, firstMs, now }: ReconcileWorkerOptions, most: number): Promise<Taken<Held>> {
  const untilMs = Math.max(times.first('order', now()), times.first('refund', now())) + HELD_MS
  const { entries, nextMs = Number.POSITIVE_INFINITY } = await watchList.take(now(), untilMs, most)
  const sleepMs = Math.max(SHORTEST_SLEEP_MS, Math.min(nextMs - now(), firstMs, LONGEST_SLEEP_MS))
  return { jobs: entries.map((entry) => ({ entry, untilMs })), sleepMs }
}

/** One entry that cannot be handled stays with us until its time is over. */
async function handle({ entry, untilMs }: Held, options: ReconcileWorkerOptions): Promise<void> {
  const { watchList, check, onChecked } = options
  const checked = await check(entry)
  await watchList.giveBack(entry, untilMs, dueAfter(checked, options))
  onChecked(reportOf(entry, checked))
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
    found: status === 'settled' ? checked.found : undefined,
    reason: status === 'failed' ? checked.reason : undefined
  }
}
