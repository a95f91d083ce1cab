/** Refunds by APIv2 (docs/wechat/pay.md A6, A11), asked for over the merchant's certificate. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings/model.ts'
import type { PayApi, RefundRequest, RefundStatus, RefundTry } from '../model.ts'
import { type CallerV2, nameOf, simpleCall } from './call.ts'
import { asServiceErrorV2, ERR_CODES_V2, type FailureV2, unusableAnswer } from './errors.ts'
import { type Fields, type RefundNamesV2, rawOf, readRefundV2 } from './facts.ts'

const REFUND = '/secapi/pay/refund'
const QUERY = '/pay/refundquery'
/** Of one page of a query's answer; by our own number there is one. */
const MOST_IN_AN_ANSWER = 50

export interface RefundOptionsV2 {
  caller: CallerV2
  /** Where WeChat notifies how a refund ends; always sent, so that no setting in its platform decides. */
  notifyUrlOf: (mchid: string) => string
}

export function createRefundsV2({ caller, notifyUrlOf }: RefundOptionsV2): Pick<PayApi, 'refund' | 'queryRefund'> {
  async function refund(merchant: Merchant, request: RefundRequest): Promise<RefundTry> {
    const fields = { ...fieldsOf(request), notify_url: notifyUrlOf(merchant.mchid) }
    try {
      const answer = await caller.sendOnce(merchant, { ...simpleCall(merchant, REFUND, fields), secure: true })
      if (answer.status !== 'ok')
        return { status: 'refused', error: asServiceErrorV2(nameOf(REFUND), answer), queryFirst: !isKnown(answer) }
      const made = statusOf(REFUND, merchant, answer.fields, { suffix: '' })
      if (made.outRefundNo !== request.outRefundNo) throw unusableAnswer(nameOf(REFUND), 'out_refund_no')
      return { status: 'made', refund: made }
    } catch (error) {
      if (error instanceof ServiceError) return { status: 'refused', error, queryFirst: false }
      throw error
    }
  }

  async function queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus> {
    const fields = await caller.query(merchant, QUERY, { out_refund_no: outRefundNo })
    const suffix = suffixOf(fields, outRefundNo)
    if (suffix === undefined) throw unusableAnswer(nameOf(QUERY), 'out_refund_no')
    return statusOf(QUERY, merchant, fields, { suffix, state: 'refund_status', successTime: 'refund_success_time' })
  }

  return { refund, queryRefund }
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
  if (read.status === 'malformed') throw unusableAnswer(nameOf(path), read.reason)
  return { api: 'v2', mchid, ...read.refund, raw: rawOf(fields) }
}
