/** Refunds by APIv2 (pay.md A6, A11): asked for over the merchant's certificate, and queried where it is unclear what came of it. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings.ts'
import type { PayApi, RefundRequest, RefundStatus } from '../api.ts'
import { findLostRefund } from '../lost-refund.ts'
import { apiOf, type CallerV2, type Fields, simpleCall } from './call.ts'
import { asServiceErrorV2, unusableAnswer } from './errors.ts'
import { type RefundNamesV2, readRefundV2 } from './refund-fields.ts'

const REFUND = '/secapi/pay/refund'
const QUERY = '/pay/refundquery'
/** Of one page of a query's answer; by our own number there is one. */
const MOST_IN_AN_ANSWER = 50

/** Failures after which WeChat may have made the refund all the same. */
const UNCLEAR: ReadonlySet<string> = new Set([
  'WECHAT_BUSY',
  'WECHAT_TIMEOUT',
  'WECHAT_UNREACHABLE',
  'WECHAT_BAD_RESPONSE'
])

export interface RefundOptionsV2 {
  caller: CallerV2
  /** Where WeChat tells how a refund ends; always sent, so that no setting in its platform decides. */
  notifyUrlOf: (mchid: string) => string
}

export function createRefundsV2({ caller, notifyUrlOf }: RefundOptionsV2): Pick<PayApi, 'refund' | 'queryRefund'> {
  async function ask(merchant: Merchant, request: RefundRequest): Promise<RefundStatus> {
    const fields = { ...fieldsOf(request), notify_url: notifyUrlOf(merchant.mchid) }
    const answer = await caller.sendOnce(merchant, { ...simpleCall(merchant, REFUND, fields), secure: true })
    if (answer.status !== 'ok') throw asServiceErrorV2(apiOf(REFUND), answer)
    return statusOf(REFUND, merchant, answer.fields, { suffix: '' })
  }

  async function queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus> {
    const fields = await caller.ask(merchant, QUERY, { out_refund_no: outRefundNo })
    const suffix = suffixOf(fields, outRefundNo)
    if (suffix === undefined) throw unusableAnswer(apiOf(QUERY), 'out_refund_no')
    return statusOf(QUERY, merchant, fields, { suffix, state: 'refund_status', successTime: 'refund_success_time' })
  }

  return {
    queryRefund,
    async refund(merchant, request) {
      try {
        return await ask(merchant, request)
      } catch (error) {
        if (!(error instanceof ServiceError && UNCLEAR.has(error.code))) throw error
        const found = await findLostRefund(queryRefund(merchant, request.outRefundNo), request)
        return found ?? (await ask(merchant, request))
      }
    }
  }
}

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
