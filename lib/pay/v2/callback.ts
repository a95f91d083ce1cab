/** What becomes of a v2 payment notice at our door: the rows of table E in pay.md, up to the answer. */
import type { Event, EventRecorder } from '../../events/queue.ts'
import type { Merchants } from '../merchants.ts'
import type { Orders } from '../orders.ts'
import type { Quarantine } from '../quarantine.ts'
import { failReply, judgeIdentity, judgePayment, type PaymentV2, readPaymentNotice, successReply } from './notice.ts'

type Verdict =
  /** It is stored, was stored before, or needs no storing: success. */
  | { verdict: 'recorded' | 'duplicate' | 'not-success' }
  /** Nobody vouches for it. */
  | { verdict: 'refused'; reason: string }
  | { verdict: 'unknown-merchant' }
  /** Authentic, but it contradicts our settings or our order: kept for a person, and WeChat comes again. */
  | { verdict: 'quarantined'; reason: string }

export interface CallbackOutcome {
  verdict: Verdict['verdict']
  /** For log and metrics, never for the answer. */
  reason?: string
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
}

export function createPaymentCallbacks({
  merchants,
  orders,
  events,
  quarantine
}: PaymentCallbackOptions): PaymentCallbacks {
  async function setAside(identity: string, reason: string, body: Buffer): Promise<Verdict> {
    await quarantine.put({ identity, door: 'pay-v2', reason, body })
    return { verdict: 'quarantined', reason }
  }

  async function receivePayment(
    payment: PaymentV2,
    known: { mchid: string; appids: readonly string[] },
    body: Buffer
  ): Promise<Verdict> {
    const id = `pay_${payment.mchid}_${payment.transactionId}`
    const order = await orders.find(known.mchid, payment.outTradeNo)
    const judged = judgePayment(payment, { ...known, order })
    if (judged !== 'accept') return setAside(id, judged, body)
    const recorded = await events.record(eventOf(id, payment, order !== undefined))
    return recorded === 'conflict' ? setAside(id, 'other-content', body) : { verdict: recorded }
  }

  async function judge(mchid: string, body: Buffer): Promise<Verdict> {
    const merchant = merchants.find(mchid)
    if (merchant?.apiV2Key === undefined) return { verdict: 'unknown-merchant' }
    const notice = readPaymentNotice(body, { apiV2Key: merchant.apiV2Key })
    switch (notice.status) {
      case 'bad-signature':
        return { verdict: 'refused', reason: 'signature' }
      case 'malformed':
        return notice.authentic
          ? setAside(`notice_${mchid}_${notice.reason}`, notice.reason, body)
          : { verdict: 'refused', reason: notice.reason }
      case 'not-success': {
        const judged = judgeIdentity(notice.notice, merchant)
        return judged === 'accept' ? { verdict: 'not-success' } : setAside(`notice_${mchid}_${judged}`, judged, body)
      }
      case 'payment':
        return receivePayment(notice.payment, merchant, body)
    }
  }

  return {
    failReply,
    async receive(mchid, body) {
      const judged = await judge(mchid, body)
      const status = STATUS[judged.verdict]
      return { ...judged, status, answer: status === 200 ? successReply : failReply }
    }
  }
}

function eventOf(id: string, payment: PaymentV2, orderKnown: boolean): Event {
  const {
    appid,
    mchid,
    openid,
    outTradeNo,
    transactionId,
    totalFen,
    currency,
    cashFen,
    successTime,
    attach,
    bankType,
    raw
  } = payment
  const amount = { total: totalFen, ...(cashFen !== undefined && { payerTotal: cashFen }), currency }
  const optional = { ...(attach !== undefined && { attach }), ...(bankType !== undefined && { bankType }) }
  return {
    id,
    type: 'payment.succeeded',
    timestamp: successTime,
    data: {
      api: 'v2',
      appid,
      mchid,
      openid,
      outTradeNo,
      transactionId,
      amount,
      successTime,
      ...optional,
      orderKnown,
      raw
    },
    essence: [appid, outTradeNo, totalFen, currency].join(' ')
  }
}
