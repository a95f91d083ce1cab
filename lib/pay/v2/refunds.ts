/** Refunds by APIv2 (pay.md A6, A11): asked for over the merchant's certificate, and queried where it is unclear what came of it. */
import type { Merchant } from '../../settings.ts'
import type { PayApi, RefundRequest, RefundStatus } from '../api.ts'
import { type RefundTry, refundOnce, refusedTry, tried } from '../refund-once.ts'
import { apiOf, type CallerV2, type Fields, simpleCall } from './call.ts'
import { asServiceErrorV2, ERR_CODES_V2, type FailureV2, unusableAnswer } from './errors.ts'
import { type RefundNamesV2, readRefundV2 } from './refund-fields.ts'

const REFUND = '/secapi/pay/refund'
const QUERY = '/pay/refundquery'
/** Of one page of a query's answer; by our own number there is one. */
const MOST_IN_AN_ANSWER = 50

export interface RefundOptionsV2 {
  caller: CallerV2
  /** Where WeChat tells how a refund ends; always sent, so that no setting in its platform decides. */
  notifyUrlOf: (mchid: string) => string
}

export function createRefundsV2({ caller, notifyUrlOf }: RefundOptionsV2): Pick<PayApi, 'refund' | 'queryRefund'> {
  function ask(merchant: Merchant, request: RefundRequest): Promise<RefundTry> {
    const fields = { ...fieldsOf(request), notify_url: notifyUrlOf(merchant.mchid) }
    return tried(async () => {
      const answer = await caller.sendOnce(merchant, { ...simpleCall(merchant, REFUND, fields), secure: true })
      if (answer.status !== 'ok') return refusedTry(asServiceErrorV2(apiOf(REFUND), answer), isKnown(answer))
      const refund = statusOf(REFUND, merchant, answer.fields, { suffix: '' })
      if (refund.outRefundNo !== request.outRefundNo) throw unusableAnswer(apiOf(REFUND), 'out_refund_no')
      return { status: 'made', refund }
    })
  }

  async function queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus> {
    const fields = await caller.ask(merchant, QUERY, { out_refund_no: outRefundNo })
    const suffix = suffixOf(fields, outRefundNo)
    if (suffix === undefined) throw unusableAnswer(apiOf(QUERY), 'out_refund_no')
    return statusOf(QUERY, merchant, fields, { suffix, state: 'refund_status', successTime: 'refund_success_time' })
  }

  return {
    queryRefund,
    refund: (merchant, request) =>
      refundOnce(request, {
        ask: () => ask(merchant, request),
        query: () => queryRefund(merchant, request.outRefundNo)
      })
  }
}

/** What is not signed, or not in WeChat's list, says nothing certain about the refund. */
const isKnown = (answer: FailureV2): boolean => answer.status === 'refused' && ERR_CODES_V2.has(answer.code)

const fieldsOf = ({ transactionId, outTradeNo, outRefundNo, amount, total, reason }: RefundRequest) => ({
  ...(transactionId === undefined ? { out_trade_no: outTradeNo } : { transaction_id: transactionId }),
  out_refund_no: outRefundNo,
  total_fee: String(total),
  refund_fee: String(amount),
  refund_desc: reason
})

/** Which of the refunds in an answer is ours. */
function suffixOf(fields: Fields, outRefundNo: string): string | undefined {
  const suffixes = Array.from({ length: MOST_IN_AN_ANSWER }, (_, index) => `_${index}`)
  return suffixes.find((suffix) => fields.get(`out_refund_no${suffix}`) === outRefundNo)
}

function statusOf(path: string, { mchid }: Merchant, fields: Fields, names: RefundNamesV2): RefundStatus {
  const read = readRefundV2(fields, names)
  if (read.status === 'malformed') throw unusableAnswer(apiOf(path), read.reason)
  const { sign: _sign, ...raw } = Object.fromEntries(fields)
  return { api: 'v2', mchid, ...read.refund, raw }
}
