/** The asking about silent orders as a part of this process: what it tells the log, and its end with the service. */
import type { FastifyInstance } from 'fastify'
import { ERRORS, type ErrorCode } from '../../lib/errors.ts'
import { createReconciler, type ReconcileOptions } from '../../lib/pay/reconcile.ts'
import { type ReconcileReport, startReconciling } from '../../lib/pay/reconcile-worker.ts'
import type { WatchList } from '../../lib/pay/watch-list.ts'
import type { WatchTimes } from '../../lib/pay/watch-times.ts'

const MINUTE_MS = 60_000

export interface ReconcilingOptions extends ReconcileOptions {
  watchList: WatchList
  times: WatchTimes
  /** Milliseconds. */
  firstMs: number
}

/** Starts with the service and stops with it. What it calls has to be closed by then, or its questions end when they end. */
export function reconcile(
  app: FastifyInstance,
  { watchList, times, firstMs, now, ...options }: ReconcilingOptions
): void {
  const warn = seldom((cause) => app.log.warn({ cause }, 'asking WeChat about silent orders'))
  let close = async () => {}
  app.addHook('onReady', async () => {
    const check = createReconciler({ ...options, now })
    const onError = (error: NodeJS.ErrnoException) => warn(error.code ?? error.name)
    const onChecked = (report: ReconcileReport) => tell(app, report, warn)
    const worker = startReconciling({ watchList, check, times, firstMs, onChecked, onError, now })
    close = () => worker.close()
  })
  let closed: Promise<void> | undefined
  app.addHook('preClose', async () => {
    closed = close()
  })
  app.addHook('onClose', () => closed ?? close())
}

/** Numbers of the merchant's own, nothing of a person. A WeChat that is away is one line a minute, a contradiction always one. */
function tell({ log }: FastifyInstance, report: ReconcileReport, warn: (cause: string) => void): void {
  const { status, found = false, reason = '', ...entry } = report
  if (found) log.info(entry, 'found by asking WeChat: no callback had come')
  else if (status === 'failed' && isCode(reason)) warn(reason)
  else if (status === 'failed') log.warn({ ...entry, reason }, 'what WeChat answers contradicts our record')
}

/** Else it is the name of what contradicts. */
const isCode = (reason: string): reason is ErrorCode => reason in ERRORS

/** What fails for one reason fails for many: each is told once a minute. */
function seldom(say: (cause: string) => void): (cause: string) => void {
  const saidAt = new Map<string, number>()
  return (cause) => {
    const at = performance.now()
    if (at - (saidAt.get(cause) ?? Number.NEGATIVE_INFINITY) < MINUTE_MS) return
    saidAt.set(cause, at)
    say(cause)
  }
}
