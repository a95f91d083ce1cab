/** What becomes of a v2 payment notice at our door: the rows of table E in pay.md, up to the answer. */
import { hash } from 'node:crypto'
import type { Quarantine } from '../../callbacks/quarantine.ts'
import type { EventRecorder } from '../../events/queue.ts'
import type { CallbackReason, Meters } from '../../metrics/meters.ts'
import { isWechatId, type Payment, paymentEvent, paymentEventId } from '../events.ts'
import type { Merchants } from '../merchants.ts'
import type { Orders } from '../orders.ts'
import { failReply, judgeIdentity, judgePayment, type PaymentV2, readPaymentNotice, successReply } from './notice.ts'
import { reasonUnlessJson } from './wrong-door.ts'

type Verdict =
  /** It is stored, or was stored before: success. `id` is the webhook-id. */
  | { verdict: 'recorded' | 'duplicate'; id: string }
  /** Nothing to store: success all the same. */
  | { verdict: 'not-success' }
  /** Nobody vouches for it. */
  | { verdict: 'refused'; reason: CallbackReason }
  | { verdict: 'unknown-merchant' }
  /** Authentic, but it contradicts our settings or our order: kept for a person, and WeChat comes again. */
  | { verdict: 'quarantined'; id: string; reason: CallbackReason }

export interface CallbackOutcome {
  verdict: Verdict['verdict']
  /** For log and metrics, never for the answer; as the next one. */
  reason?: CallbackReason
  /** What is stored under it: merchant and transaction, nothing of a person. */
  id?: string
  status: number
  /** The XML to answer with. */
  answer: string
}

export interface PaymentCallbacks {
  /** Reads, verifies, compares and records one notice. Throws only where Redis cannot say that it holds it. */
  receive(mchid: string, body: Buffer): Promise<CallbackOutcome>
  /** What to answer where no verdict was reached. */
  failReply: string
}

const STATUS: Readonly<Record<Verdict['verdict'], number>> = {
  recorded: 200,
  duplicate: 200,
  'not-success': 200,
  refused: 401,
  'unknown-merchant': 404,
  quarantined: 500
}

export interface PaymentCallbackOptions {
  merchants: Merchants
  orders: Orders
  events: Pick<EventRecorder, 'record'>
  quarantine: Quarantine
  meters: Pick<Meters, 'callback'>
}

/** A notice that is signed, and the merchant whose address it came to. */
interface Authentic {
  owner: string
  body: Buffer
}

export function createPaymentCallbacks({
  merchants,
  orders,
  events,
  quarantine,
  meters
}: PaymentCallbackOptions): PaymentCallbacks {
  async function setAside(id: string, reason: CallbackReason, { owner, body }: Authentic): Promise<Verdict> {
    await quarantine.put({ identity: id, door: 'pay-v2', reason, owner, body })
    return { verdict: 'quarantined', id, reason }
  }

  async function receivePayment(
    payment: PaymentV2,
    known: { mchid: string; appids: readonly string[] },
    body: Buffer
  ): Promise<Verdict> {
    const authentic = { owner: known.mchid, body }
    if (!isWechatId(payment.transactionId)) return setAside(namelessIdentity(authentic), 'transaction_id', authentic)
    const id = paymentEventId(payment.mchid, payment.transactionId)
    const order = await orders.find(known.mchid, payment.outTradeNo)
    const judged = judgePayment(payment, { ...known, order })
    if (judged !== 'accept') return setAside(id, judged, authentic)
    const recorded = await events.record(paymentEvent(factsOf(payment), order !== undefined))
    return recorded === 'conflict' ? setAside(id, 'other-content', authentic) : { verdict: recorded, id }
  }

  async function judge(mchid: string, body: Buffer): Promise<Verdict> {
    const merchant = merchants.find(mchid)
    if (merchant?.apiV2Key === undefined) return { verdict: 'unknown-merchant' }
    const authentic = { owner: mchid, body }
    const notice = readPaymentNotice(body, { apiV2Key: merchant.apiV2Key })
    switch (notice.status) {
      case 'bad-signature':
        return { verdict: 'refused', reason: 'signature' }
      case 'malformed':
        return notice.authentic
          ? setAside(namelessIdentity(authentic), notice.reason, authentic)
          : { verdict: 'refused', reason: reasonUnlessJson(body, notice.reason) }
      case 'not-success': {
        const judged = judgeIdentity(notice.notice, merchant)
        return judged === 'accept'
          ? { verdict: 'not-success' }
          : setAside(namelessIdentity(authentic), judged, authentic)
      }
      case 'payment':
        return receivePayment(notice.payment, merchant, body)
    }
  }

  return {
    failReply,
    async receive(mchid, body) {
      const judged = await judge(mchid, body).catch((error: unknown) => {
        meters.callback('pay-v2', 'failed')
        throw error
      })
      meters.callback('pay-v2', judged.verdict, 'reason' in judged ? judged.reason : undefined)
      const status = STATUS[judged.verdict]
      return { ...judged, status, answer: status === 200 ? successReply : failReply }
    }
  }
}

/** For an authentic notice that does not say which payment it is about: its bytes, which WeChat repeats as they were. */
const namelessIdentity = ({ owner, body }: Authentic) => `notice_${owner}_${hash('sha256', body).slice(0, 32)}`

function factsOf({ totalFen, cashFen, currency, ...facts }: PaymentV2): Payment {
  const amount = { total: totalFen, ...(cashFen !== undefined && { payerTotal: cashFen }), currency }
  return { ...facts, api: 'v2', amount }
}
