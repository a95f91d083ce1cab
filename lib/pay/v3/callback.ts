/** What becomes of an APIv3 callback at our door: the rows of table E in pay.md, up to the answer. */
import { hash, type KeyObject } from 'node:crypto'
import type { Event, EventRecorder } from '../../events/queue.ts'
import { type CallbackReason, type Meters, reasonOf } from '../../metrics/meters.ts'
import { paymentEvent, refundEvent } from '../events.ts'
import type { Merchants } from '../merchants.ts'
import type { Orders } from '../orders.ts'
import type { AccountsV3 } from './accounts.ts'
import { type JudgementV3, judgeNotSuccessV3, judgePaymentV3, judgeRefundV3, type KnownV3 } from './judge.ts'
import { type EnvelopeV3, failReplyV3, type RefundNoticeV3, readNoticeV3 } from './notice.ts'
import type { PaymentV3 } from './payment.ts'
import type { PlatformKeyStore } from './platform-keys.ts'
import { type SignedV3, signatureHeadersOf, type VerificationV3 } from './verify.ts'

type Verdict =
  /** It is stored, or was stored before: success. `id` is the webhook-id. */
  | { verdict: 'recorded' | 'duplicate'; id: string }
  /** Nothing to store: success all the same. */
  | { verdict: 'not-success' }
  /** Of a kind that is not ours: kept where a person may look, and success. */
  | { verdict: 'other'; id: string; reason: CallbackReason }
  /** Nobody vouches for it. */
  | { verdict: 'refused'; reason: CallbackReason }
  | { verdict: 'unknown-merchant' }
  /** Authentic, but it contradicts our settings or our order: kept for a person, and WeChat comes again. */
  | { verdict: 'quarantined'; id: string; reason: CallbackReason }

/** What the message says of itself: the key that signed it, and how far it is behind our clock. */
interface Claims {
  serial?: string
  skewSeconds?: number
}

/** For log and metrics, never for the answer. */
export interface VerdictV3 extends Claims {
  verdict: Verdict['verdict']
  reason?: CallbackReason
  /** What is stored under it: merchant and transaction or refund, nothing of a person. */
  id?: string
}

export interface CallbackOutcomeV3 extends VerdictV3 {
  status: number
  /** The JSON to answer with; a success has none. */
  answer?: string
}

/** A callback that was kept for a person, and when it came (milliseconds since 1970). */
export interface KeptCallbackV3 extends SignedV3 {
  /** The merchant of the address that it came to. */
  owner: string
  receivedAt: number
}

/** What is kept: sealed, one entry for each identity. */
interface Aside {
  identity: string
  door: 'pay-v3'
  reason: CallbackReason
  owner: string
  body: Buffer
  headers: Record<string, string>
}

export interface PaymentCallbacksV3 {
  /** Verifies, opens, compares and records one callback. Throws only where Redis cannot say that it holds it. */
  receive(mchid: string, message: SignedV3): Promise<CallbackOutcomeV3>
  /** The same once more, by the clock of then and the settings of now. What still contradicts us stays where it is kept. */
  retry(kept: KeptCallbackV3): Promise<VerdictV3>
  /** What to answer where no verdict was reached. */
  failReply: string
}

const STATUS: Readonly<Record<Verdict['verdict'], number>> = {
  recorded: 204,
  duplicate: 204,
  'not-success': 204,
  other: 204,
  refused: 401,
  'unknown-merchant': 404,
  quarantined: 500
}

const DOOR = 'pay-v3'

export interface PaymentCallbackOptionsV3 {
  merchants: Pick<Merchants, 'find'>
  accounts: Pick<AccountsV3, 'find'>
  platformKeys: Pick<PlatformKeyStore, 'verify'>
  orders: Pick<Orders, 'find'>
  events: Pick<EventRecorder, 'record'>
  quarantine: { put(entry: Aside): Promise<void> }
  meters: Pick<Meters, 'callback'>
  /** Milliseconds since 1970. */
  now: () => number
}

type Known = Pick<KnownV3, 'mchid' | 'appids'>

export function createPaymentCallbacksV3(options: PaymentCallbackOptionsV3): PaymentCallbacksV3 {
  const { merchants, accounts, platformKeys, orders, events, quarantine, meters, now } = options

  const withOrder = async (known: Known, outTradeNo: string): Promise<KnownV3> => ({
    ...known,
    order: await orders.find(known.mchid, outTradeNo)
  })

  async function record(event: Event, judged: JudgementV3): Promise<Verdict> {
    const { id } = event
    if (judged !== 'accept') return { verdict: 'quarantined', id, reason: judged }
    const recorded = await events.record(event)
    return recorded === 'conflict' ? { verdict: 'quarantined', id, reason: 'other-content' } : { verdict: recorded, id }
  }

  async function receivePayment(payment: PaymentV3, ours: Known): Promise<Verdict> {
    const known = await withOrder(ours, payment.outTradeNo)
    const { totalFen, payerFen, currency, ...facts } = payment
    const amount = { total: totalFen, ...(payerFen !== undefined && { payerTotal: payerFen }), currency }
    const event = paymentEvent({ ...facts, api: 'v3', amount }, known.order !== undefined)
    return record(event, judgePaymentV3(payment, known))
  }

  async function receiveRefund(refund: RefundNoticeV3, { createTime }: EnvelopeV3, ours: Known): Promise<Verdict> {
    const known = await withOrder(ours, refund.outTradeNo)
    const event = refundEvent({ ...refund, api: 'v3' }, createTime ?? new Date(now()).toISOString())
    return record(event, judgeRefundV3(refund, known))
  }

  async function receiveAuthentic(body: Buffer, apiV3Key: KeyObject, known: Known): Promise<Verdict> {
    const notice = readNoticeV3(body, apiV3Key)
    const id = namelessIdentity(known.mchid, body)
    switch (notice.status) {
      case 'payment':
        return receivePayment(notice.payment, known)
      case 'refund':
        return receiveRefund(notice.refund, notice.envelope, known)
      case 'not-success': {
        const judged = judgeNotSuccessV3(notice.notice, known)
        return judged === 'accept' ? { verdict: 'not-success' } : { verdict: 'quarantined', id, reason: judged }
      }
      case 'other':
        return { verdict: 'other', id, reason: 'other-event' }
      case 'unopenable':
        return { verdict: 'quarantined', id, reason: 'unopenable' }
      case 'malformed':
        return { verdict: 'quarantined', id, reason: reasonOf(notice.reason) }
    }
  }

  async function judge(mchid: string, message: SignedV3, atMs?: number): Promise<Verdict & Claims> {
    const merchant = merchants.find(mchid)
    const credentials = accounts.find(mchid)
    if (merchant === undefined || credentials === undefined) return { verdict: 'unknown-merchant' }
    const verified = await platformKeys.verify(credentials, message, atMs)
    const claims = claimsOf(verified)
    if (verified.status === 'refused') return { verdict: 'refused', reason: verified.reason, ...claims }
    const known = { mchid, appids: merchant.appids }
    return { ...(await receiveAuthentic(message.body, credentials.apiV3Key, known)), ...claims }
  }

  async function judgeAndKeep(mchid: string, message: SignedV3): Promise<Verdict & Claims> {
    const judged = await judge(mchid, message)
    if (judged.verdict !== 'quarantined' && judged.verdict !== 'other') return judged
    const { id: identity, reason } = judged
    const headers = signatureHeadersOf(message.headers)
    await quarantine.put({ identity, door: DOOR, reason, owner: mchid, body: message.body, headers })
    return judged
  }

  return {
    failReply: failReplyV3,
    retry: ({ owner, receivedAt, ...message }) => judge(owner, message, receivedAt),
    async receive(mchid, message) {
      const judged = await judgeAndKeep(mchid, message).catch((error: unknown) => {
        meters.callback(DOOR, 'failed')
        throw error
      })
      meters.callback(DOOR, judged.verdict, 'reason' in judged ? judged.reason : undefined)
      const status = STATUS[judged.verdict]
      return { ...judged, status, ...(status !== 204 && { answer: failReplyV3 }) }
    }
  }
}

/** For an authentic callback that does not say what it is about: its bytes. */
const namelessIdentity = (mchid: string, body: Buffer) => `notice_${mchid}_${hash('sha256', body).slice(0, 32)}`

/** What nobody vouches for is shown only where it has the form of a serial. */
function claimsOf({ serial = '', skewSeconds }: VerificationV3): Claims {
  const isSerial = /^(?:PUB_KEY_ID_[0-9A-Za-z]{1,64}|[0-9A-F]{40})$/.test(serial)
  return { ...(isSerial && { serial }), ...(skewSeconds !== undefined && { skewSeconds }) }
}
