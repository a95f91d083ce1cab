/** What becomes of a v2 refund notice at our door: the rows of table E in pay.md, row 24 before all, up to the answer. */
import { hash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Quarantine } from '../../callbacks/quarantine.ts'
import type { EventRecorder } from '../../events/queue.ts'
import { type CallbackReason, type Meters, reasonOf } from '../../metrics/meters.ts'
import type { Merchant } from '../../settings.ts'
import type { PayApis } from '../api.ts'
import { refundEvent, refundEventId } from '../events.ts'
import { type Merchants, withApp } from '../merchants.ts'
import type { Orders } from '../orders.ts'
import { failReply, judgeIdentity, successReply } from './notice.ts'
import { type Confirmation, confirmRefund } from './refund-confirmation.ts'
import type { RefundConfirmations } from './refund-confirmations.ts'
import { type RefundNoticeV2, readRefundNotice } from './refund-notice.ts'
import { reasonUnlessJson } from './wrong-door.ts'

type Verdict =
  /** It is stored, or was stored before: success. `id` is the webhook-id. */
  | { verdict: 'recorded' | 'duplicate'; id: string }
  /** WeChat did not confirm it in time: it is stored as it came, and will be recorded once confirmed. Success. */
  | { verdict: 'unconfirmed'; id: string }
  /** Nothing to store: success all the same. */
  | { verdict: 'not-success' }
  /** Nobody vouches for it. */
  | { verdict: 'refused'; reason: CallbackReason }
  | { verdict: 'unknown-merchant' }
  /** It opened, but it contradicts our settings, our order or WeChat: kept for a person, and WeChat comes again. */
  | { verdict: 'quarantined'; id: string; reason: CallbackReason }

export interface RefundCallbackOutcome {
  verdict: Verdict['verdict']
  /** For log and metrics, never for the answer; as the next one. */
  reason?: CallbackReason
  /** What is stored under it: merchant, refund and state, nothing of a person. */
  id?: string
  status: number
  /** The XML to answer with. */
  answer: string
}

export interface RefundCallbacks {
  /** Reads, compares, confirms and records one notice. Throws only where Redis cannot say that it holds it. */
  receive(mchid: string, body: Buffer): Promise<RefundCallbackOutcome>
  /**
   * The same for a stored notice, with as much time as WeChat needs. Throws where it still cannot be confirmed, or Redis is away;
   * it is to be tried again then.
   */
  confirm(mchid: string, body: Buffer): Promise<Pick<RefundCallbackOutcome, 'verdict' | 'reason' | 'id'>>
  /** For a stored notice that could not be confirmed for days: it waits in quarantine for a person. Throws where Redis is away. */
  giveUp(notice: { id: string; mchid: string; body: Buffer }): ReturnType<RefundCallbacks['confirm']>
  /** What to answer where no verdict was reached. */
  failReply: string
}

export interface RefundCallbackOptions {
  merchants: Pick<Merchants, 'find'>
  orders: Pick<Orders, 'find'>
  events: Pick<EventRecorder, 'record'>
  quarantine: Pick<Quarantine, 'put'>
  apis: PayApis
  confirmations: Pick<RefundConfirmations, 'add'>
  meters: Pick<Meters, 'callback'>
  /** Milliseconds since 1970. */
  now: () => number
}

const DOOR = 'pay-v2-refund'
/** What the query may take of the two seconds in which WeChat gets its answer; Redis has the rest. */
const CONFIRM_MS = 1000

const STATUS: Readonly<Record<Verdict['verdict'], number>> = {
  recorded: 200,
  duplicate: 200,
  unconfirmed: 200,
  'not-success': 200,
  refused: 401,
  'unknown-merchant': 404,
  quarantined: 500
}

/** What a stored notice does not end with. */
const UNSETTLED: ReadonlySet<Verdict['verdict']> = new Set(['unconfirmed', 'refused', 'unknown-merchant'])

/** A notice that opened, and whose address it came to. */
interface Opened {
  notice: RefundNoticeV2
  merchant: Merchant
  body: Buffer
}

/** What is put aside, and the merchant whose address it came to. */
interface Kept {
  owner: string
  body: Buffer
}

export function createRefundCallbacks(options: RefundCallbackOptions): RefundCallbacks {
  const { merchants, orders, events, quarantine, apis, confirmations, meters, now } = options

  async function setAside(id: string, reason: string, { owner, body }: Kept): Promise<Verdict> {
    await quarantine.put({ identity: id, door: DOOR, reason, owner, body })
    return { verdict: 'quarantined', id, reason: reasonOf(reason) }
  }

  async function settle({ notice, merchant, body }: Opened, ask: typeof confirmRefund): Promise<Verdict> {
    const { state, mchid, refundId } = notice
    const kept = { owner: merchant.mchid, body }
    if (state === 'PROCESSING') return { verdict: 'not-success' }
    const id = refundEventId(merchant.mchid, refundId, state)
    const identity = judgeIdentity({ appid: notice.appid, mchid }, merchant)
    if (identity !== 'accept') return setAside(id, identity, kept)
    const [order, asked] = await Promise.all([
      orders.find(mchid, notice.outTradeNo),
      ask(notice, withApp(merchant, notice.appid), apis)
    ])
    if (order !== undefined && order.totalFen !== notice.amount.total) return setAside(id, 'amount-mismatch', kept)
    if (asked.status === 'open') return { verdict: 'unconfirmed', id }
    if (asked.status === 'contradicted') return setAside(id, asked.reason, kept)
    const event = refundEvent(asked.refund, new Date(now()).toISOString())
    const recorded = await events.record(event)
    return recorded === 'conflict' ? setAside(id, 'other-content', kept) : { verdict: recorded, id: event.id }
  }

  async function judge(mchid: string, body: Buffer, ask: typeof confirmRefund): Promise<Verdict> {
    const merchant = merchants.find(mchid)
    if (merchant?.apiV2Key === undefined) return { verdict: 'unknown-merchant' }
    const read = readRefundNotice(body, merchant.apiV2Key)
    switch (read.status) {
      case 'refused':
        return { verdict: 'refused', reason: reasonUnlessJson(body, read.reason) }
      case 'malformed':
        return setAside(namelessIdentity(mchid, body), read.reason, { owner: mchid, body })
      case 'refund':
        return settle({ notice: read.notice, merchant, body }, ask)
    }
  }

  async function judgeAtDoor(mchid: string, body: Buffer): Promise<Verdict> {
    const judged = await judge(mchid, body, confirmSoon)
    if (judged.verdict === 'unconfirmed') await confirmations.add({ id: judged.id, mchid, body })
    return judged
  }

  return {
    failReply,
    async receive(mchid, body) {
      const judged = await judgeAtDoor(mchid, body).catch((error: unknown) => {
        meters.callback(DOOR, 'failed')
        throw error
      })
      meters.callback(DOOR, judged.verdict, 'reason' in judged ? judged.reason : undefined)
      const status = STATUS[judged.verdict]
      return { ...judged, status, answer: status === 200 ? successReply : failReply }
    },
    async confirm(mchid, body) {
      const judged = await judge(mchid, body, confirmRefund)
      // A key or merchant that is gone may come back, like WeChat.
      if (UNSETTLED.has(judged.verdict)) throw new Error(`not settled: ${judged.verdict}`)
      return judged
    },
    giveUp: ({ id, mchid, body }) => setAside(id, 'unconfirmed', { owner: mchid, body })
  }
}

/** A query that takes longer goes on, and nobody waits for it: it changes nothing. */
async function confirmSoon(...asked: Parameters<typeof confirmRefund>): Promise<Confirmation> {
  const deadline = new AbortController()
  const late: Confirmation = { status: 'open', cause: 'late' }
  const slow = pause(CONFIRM_MS, late, { signal: deadline.signal }).catch(() => late)
  return Promise.race([confirmRefund(...asked), slow]).finally(() => deadline.abort())
}

/** For a notice that does not say which refund it is about: its bytes. */
const namelessIdentity = (mchid: string, body: Buffer) => `notice_${mchid}_${hash('sha256', body).slice(0, 32)}`
