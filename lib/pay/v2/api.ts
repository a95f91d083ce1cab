/** WeChat Pay by APIv2, in the shape that both APIs share. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings/model.ts'
import { makeNonce } from '../../util/bytes.ts'
import type {
  Bill,
  BillRequest,
  OrderRecord,
  OrderStatus,
  PayApi,
  PrepayOutcome,
  RefundRequest,
  RefundStatus,
  RefundTry
} from '../model.ts'
import { billErrorV2, readBillV2 } from './bill.ts'
import { type CallerOptionsV2, CallerV2, firstAppOf, keyOf, nameOf, simpleCall } from './call.ts'
import { asServiceErrorV2, ERR_CODES_V2, type FailureV2, unusableAnswer } from './errors.ts'
import { type Fields, type RefundNamesV2, rawOf, readOrderV2, readRefundV2 } from './facts.ts'
import { payParamsFor, refusedPrepay, unifiedOrderCall } from './prepay.ts'
import { buildRequestV2, type SigningV2 } from './request.ts'

const PATHS = {
  query: '/pay/orderquery',
  close: '/pay/closeorder',
  /** Over the merchant's certificate. */
  refund: '/secapi/pay/refund',
  queryRefund: '/pay/refundquery',
  bill: '/pay/downloadbill'
} as const

/** Of one page of a refund query's answer; by our own number there is one. */
const MOST_IN_AN_ANSWER = 50

export interface PayApiOptionsV2 extends CallerOptionsV2 {
  /** Where WeChat reaches us, without a trailing slash. */
  publicUrl: string
  /** Milliseconds since 1970. */
  now: () => number
}

/**
 * Everything is asked for in the name of the merchant's first app, but for an order, which names its own. Where the app
 * of an order is known and the merchant has several, hand over `{ ...merchant, appids: [appid] }`.
 *
 * Beside the codes of PayApi, WECHAT_CONFIG_INVALID also means that a setting of ours is missing; the message names it.
 */
export class PayApiV2 implements PayApi {
  readonly #caller: CallerV2
  readonly #publicUrl: string
  readonly #now: () => number

  constructor({ publicUrl, now, ...options }: PayApiOptionsV2) {
    this.#caller = new CallerV2(options)
    this.#publicUrl = publicUrl
    this.#now = now
  }

  async prepay(merchant: Merchant, order: OrderRecord): Promise<PrepayOutcome> {
    const call = unifiedOrderCall(order, this.#notifyUrl(merchant, 'notify'))
    const { answer, repeated } = await this.#caller.send(merchant, call)
    if (answer.status !== 'ok') return refusedPrepay(answer, repeated)
    const { prepayId } = answer
    return { status: 'made', prepayId, payParams: payParamsFor(order, prepayId, keyOf(merchant), this.#now()) }
  }

  async query(merchant: Merchant, outTradeNo: string): Promise<OrderStatus> {
    const fields = await this.#caller.query(merchant, PATHS.query, { out_trade_no: outTradeNo })
    const read = readOrderV2(fields, outTradeNo)
    if (read.status === 'malformed') throw unusableAnswer(nameOf(PATHS.query), read.reason)
    return read.order
  }

  /** Closing what is closed is done; what is paid stays so, and is refused as PAY_REJECTED. */
  async close(merchant: Merchant, outTradeNo: string): Promise<void> {
    try {
      await this.#caller.query(merchant, PATHS.close, { out_trade_no: outTradeNo })
    } catch (error) {
      if (!(error instanceof ServiceError && error.wechat?.code === 'ORDERCLOSED')) throw error
    }
  }

  async refund(merchant: Merchant, request: RefundRequest): Promise<RefundTry> {
    // Always sent, so that no setting in WeChat's platform decides.
    const fields = { ...fieldsOf(request), notify_url: this.#notifyUrl(merchant, 'refund') }
    const name = nameOf(PATHS.refund)
    try {
      const call = { ...simpleCall(merchant, PATHS.refund, fields), secure: true }
      const answer = await this.#caller.sendOnce(merchant, call)
      if (answer.status !== 'ok')
        return { status: 'refused', error: asServiceErrorV2(name, answer), queryFirst: !isKnown(answer) }
      const refund = statusOf(PATHS.refund, merchant, answer.fields, { suffix: '' })
      if (refund.outRefundNo !== request.outRefundNo) throw unusableAnswer(name, 'out_refund_no')
      return { status: 'made', refund }
    } catch (error) {
      if (error instanceof ServiceError) return { status: 'refused', error, queryFirst: false }
      throw error
    }
  }

  async queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus> {
    const fields = await this.#caller.query(merchant, PATHS.queryRefund, { out_refund_no: outRefundNo })
    const suffix = suffixOf(fields, outRefundNo)
    if (suffix === undefined) throw unusableAnswer(nameOf(PATHS.queryRefund), 'out_refund_no')
    const names = { suffix, state: 'refund_status', successTime: 'refund_success_time' }
    return statusOf(PATHS.queryRefund, merchant, fields, names)
  }

  async bill(merchant: Merchant, { kind, date }: BillRequest): Promise<Bill> {
    if (kind === 'fundflow')
      throw new ServiceError('PAY_REJECTED', {
        message: 'Fund flow bills come by api v3 only; configure its keys for this merchant'
      })
    const appid = firstAppOf(merchant)
    const bill_date = date.replaceAll('-', '')
    const common = { appid, mch_id: merchant.mchid, bill_date, bill_type: 'ALL', tar_type: 'GZIP' }
    const build = (signing: SigningV2) => buildRequestV2({ ...common, nonce_str: makeNonce() }, signing)
    const answer = await this.#caller.openFile(merchant, { path: PATHS.bill, build, open: readBillV2 })
    if (answer.status === 'ok') return { csv: answer.csv }
    throw billErrorV2(answer)
  }

  #notifyUrl({ mchid }: Merchant, what: 'notify' | 'refund'): string {
    return `${this.#publicUrl}/wechat/pay/v2/${mchid}/${what}`
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
  if (read.status === 'malformed') throw unusableAnswer(nameOf(path), read.reason)
  return { api: 'v2', mchid, ...read.refund, raw: rawOf(fields) }
}
