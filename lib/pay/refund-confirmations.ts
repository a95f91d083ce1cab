/**
 * Refund notices of APIv2, which nobody signed: WeChat is asked whether it says the same. What it could not confirm at
 * once waits in a BullMQ queue, until any worker has it confirmed.
 */
import type { Job, JobsOptions } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Stored } from '../callbacks/intake.ts'
import type { CallbackReason, Finding } from '../callbacks/model.ts'
import { ServiceError } from '../errors.ts'
import { pauseMs, TRIES } from '../events/model.ts'
import type { Durability } from '../redis/durability.ts'
import { LazyQueue } from '../redis/queue.ts'
import { QueueWorker, type Worker } from '../redis/worker.ts'
import type { Merchant } from '../settings/model.ts'
import { withTimeout } from '../util/deadline.ts'
import type { ConfirmRefund } from './channel.ts'
import type { Ledger } from './ledger.ts'
import { isSameRefund, mismatchOf } from './match.ts'
import { withApp } from './merchants.ts'
import {
  type PayApi,
  type PayApis,
  type Refund,
  type RefundStatus,
  refundEvent,
  refundEventId,
  type UnsignedRefund
} from './model.ts'
import type { Orders } from './records.ts'

const QUEUE_NAME = 'refund-confirmation'
const PARALLEL = 4
const LOCK_MS = 30_000
/** Between two looks for what the dead held. */
const LOOK_MS = 10_000

/** What the query may take of the two seconds in which WeChat gets its answer; Redis has the rest. */
const CONFIRM_MS = 1000

/** No try is the last one for the queue: a notice leaves it once it is settled, or in quarantine. */
const jobOptions: JobsOptions = {
  attempts: Number.MAX_SAFE_INTEGER,
  backoff: { type: 'custom' },
  removeOnComplete: true,
  stackTraceLimit: 0
}

/** The notice as it came: what is private in it stays under the APIv2 key. */
interface Waiting {
  mchid: string
  /** Base64. */
  body: string
}

export interface RefundConfirmationOptions {
  /** The connection stays the caller's. */
  redis: Redis
  prefix: string
  /** As events are recorded. */
  durability: Durability | undefined
  apis: PayApis
  orders: Pick<Orders, 'find'>
  ledger: Pick<Ledger, 'follow'>
  /** Milliseconds since 1970. */
  now: () => number
}

export class RefundConfirmations {
  readonly #options: RefundConfirmationOptions
  readonly #queue: LazyQueue<Waiting>

  constructor(options: RefundConfirmationOptions) {
    this.#options = options
    this.#queue = new LazyQueue<Waiting>(options.redis, options.prefix, QUEUE_NAME)
  }

  /**
   * For callbacks as they come: what WeChat does not confirm within a second is stored. A query that takes longer goes
   * on, and nobody waits for it: it changes nothing.
   */
  readonly confirmSoon: ConfirmRefund = async (refund, merchant, callback) => {
    const { owner: mchid, body } = callback
    return this.#find(refund, merchant, inASecond, (id) => this.#add({ id, mchid, body }))
  }

  /** For stored notices: with as much time as WeChat needs. */
  readonly confirm: ConfirmRefund = (refund, merchant) =>
    this.#find(
      refund,
      merchant,
      (asked) => asked,
      async () => {
        throw new Error('not settled: unconfirmed')
      }
    )

  close(): Promise<void> {
    return this.#queue.close()
  }

  async #find(
    refund: UnsignedRefund,
    merchant: Merchant,
    waitFor: (asked: Promise<Confirmation>) => Promise<Confirmation>,
    store: (id: string) => Promise<void>
  ): Promise<Finding> {
    const { orders, apis, ledger, now } = this.#options
    const { appid, mchid, state, amount } = refund
    if (state === 'PROCESSING') return { status: 'not-success' }
    const id = refundEventId(merchant.mchid, refund.refundId, state)
    const said = { mchid, appid, total: amount.total }
    const keep = (reason: CallbackReason): Finding => ({ status: 'quarantined', id, reason })
    const foreign = mismatchOf(said, merchant)
    if (foreign !== undefined) return keep(foreign)
    const [order, confirmation] = await Promise.all([
      orders.find(mchid, refund.outTradeNo),
      waitFor(askAbout(refund, withApp(merchant, appid), apis))
    ])
    const mismatch = mismatchOf(said, { mchid, appids: merchant.appids, order })
    if (mismatch !== undefined) return keep(mismatch)
    if (confirmation.status === 'open') return { status: 'unconfirmed', id, store: () => store(id) }
    if (confirmation.status === 'contradicted') return keep(confirmation.reason)
    const event = refundEvent(confirmation.refund, new Date(now()).toISOString())
    return { status: 'event', event, keptAs: id, recorded: async () => ledger.follow(event) }
  }

  /** Stores a notice, once for each `id`. When it resolves, Redis holds it, on disk where that was asked for. */
  async #add({ id, mchid, body }: { id: string; mchid: string; body: Buffer }): Promise<void> {
    const queue = await this.#queue.open()
    const confirm = await this.#options.durability?.begin()
    await queue.add(QUEUE_NAME, { mchid, body: body.toString('base64') }, { ...jobOptions, jobId: id })
    await confirm?.()
  }
}

type Confirmation =
  /** What WeChat says now. A later state than that of the notice stands in its place: states only move forward. */
  | { status: 'confirmed'; refund: Refund }
  /** WeChat has no such refund, or another one under this number. */
  | { status: 'contradicted'; reason: 'unknown-refund' | 'other-content' }
  /** WeChat cannot be asked now, or does not yet say what its notice says. */
  | { status: 'open'; cause: string }

const inASecond = async (asked: Promise<Confirmation>): Promise<Confirmation> =>
  (await withTimeout(asked, CONFIRM_MS)) ?? { status: 'open', cause: 'late' }

/** Asks by each api that this merchant has, until one knows the refund. Never throws. */
async function askAbout(notice: UnsignedRefund, merchant: Merchant, apis: PayApis): Promise<Confirmation> {
  let failure: Confirmation | undefined
  for (const api of apisOf(merchant, apis)) {
    try {
      return compare(notice, await api.queryRefund(merchant, notice.outRefundNo))
    } catch (error) {
      const isUnknown = error instanceof ServiceError && error.code === 'NOT_FOUND'
      // An api that cannot be asked outweighs one that knows nothing: it might.
      if (!isUnknown) failure = { status: 'open', cause: error instanceof ServiceError ? error.code : 'INTERNAL' }
    }
  }
  return failure ?? { status: 'contradicted', reason: 'unknown-refund' }
}

/** The notice is of APIv2, whoever asked for the refund; both apis know the refunds of both. */
const apisOf = ({ apiV2Key, apiV3Key }: Merchant, { v2, v3 }: PayApis): PayApi[] => [
  ...(apiV3Key === undefined ? [] : [v3]),
  ...(apiV2Key === undefined ? [] : [v2])
]

function compare({ appid: _, ...notice }: UnsignedRefund, found: RefundStatus): Confirmation {
  if (!isSameRefund(notice, found)) return { status: 'contradicted', reason: 'other-content' }
  if (!isEventful(found)) return { status: 'open', cause: 'PROCESSING' }
  const { state } = found
  return { status: 'confirmed', refund: state === notice.state ? { ...notice, state } : found }
}

const isEventful = (found: RefundStatus): found is Refund => found.state !== 'PROCESSING'

export type ConfirmationReport = Stored & { mchid: string }

export interface ConfirmationWorkerOptions {
  /** A patient connection: the worker blocks on it. It stays the caller's. */
  redis: Redis
  prefix: string
  /** Throws where it still cannot be confirmed, or Redis is away; it is to be tried again then. */
  confirm(mchid: string, body: Buffer): Promise<Stored>
  /** After three days of tries, and from then on until it could: it waits in quarantine for a person. */
  giveUp(notice: { id: string; mchid: string; body: Buffer }): Promise<Stored>
  /** One notice came to something. */
  onSettled: (report: ConfirmationReport) => void
  onError: (error: Error) => void
  /** Milliseconds after `triesMade` tries; default: the pauses of events. */
  pauseMs?: (triesMade: number) => number
}

export function startRefundConfirmations(options: ConfirmationWorkerOptions): Worker {
  const { redis, prefix, confirm, giveUp, onSettled, onError } = options

  async function settle({ id = '', data: { mchid, body }, attemptsMade }: Job<Waiting>): Promise<void> {
    const bytes = Buffer.from(body, 'base64')
    const outcome = await confirm(mchid, bytes).catch((error: unknown) => {
      if (attemptsMade + 1 < TRIES) throw error
      return giveUp({ id, mchid, body: bytes })
    })
    onSettled({ mchid, ...outcome })
  }

  return new QueueWorker<Waiting>({
    redis,
    prefix,
    name: QUEUE_NAME,
    concurrency: PARALLEL,
    work: settle,
    pauseMs: options.pauseMs ?? ((triesMade) => pauseMs(triesMade, Math.random())),
    lockMs: LOCK_MS,
    lookMs: LOOK_MS,
    onError
  })
}
