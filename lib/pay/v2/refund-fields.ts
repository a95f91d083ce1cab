/** The facts of a refund in APIv2's fields: of an answer, of one of many in a query's answer, or of a notice. */
import type { RefundStatus } from '../api.ts'
import { refundStateOfV2 } from '../v3/states.ts'
import { fromBeijingDateTime } from './beijing-time.ts'

/** What coupons leave of the amounts is not told here. */
export type RefundV2 = Omit<RefundStatus, 'api' | 'mchid' | 'raw'>

export type RefundFieldV2 =
  | 'out_trade_no'
  | 'transaction_id'
  | 'out_refund_no'
  | 'refund_id'
  | 'total_fee'
  | 'refund_fee'
  | 'refund_status'
  | 'success_time'

/** `reason` is the field that is absent or not what it should be. */
export type RefundFieldsV2 = { status: 'refund'; refund: RefundV2 } | { status: 'malformed'; reason: RefundFieldV2 }

/** Where the fields of the refund stand; those of its order have one name everywhere. */
export interface RefundNamesV2 {
  /** `_0` in the answer to a query, else nothing. */
  suffix: string
  /** undefined: nothing says how it stands, it was just accepted. */
  state?: string
  successTime?: string
}

const FEN = /^\d{1,10}$/
/** Up to 32 digits today. These become part of names, so they must not hold what separates those. */
const ID = /^[\w-]{1,64}$/
const ORDER_NUMBER = /^[\w|*-]{1,32}$/
const REFUND_NUMBER = /^[\w|*@-]{1,64}$/

/** Reads one refund. Nothing is said about fields that nobody here relies on. */
export function readRefundV2(fields: ReadonlyMap<string, string>, names: RefundNamesV2): RefundFieldsV2 {
  const read = readerOf(fields, names)
  const fault = read.findFault()
  return fault === undefined ? { status: 'refund', refund: read.refund } : { status: 'malformed', reason: fault }
}

function readerOf(fields: ReadonlyMap<string, string>, { suffix, state, successTime }: RefundNamesV2) {
  const at = (name: string) => fields.get(name) ?? ''
  const own = (name: string) => at(`${name}${suffix}`)
  const word = state === undefined ? 'PROCESSING' : own(state)
  const time = successTime === undefined ? '' : own(successTime)
  const known = refundStateOfV2(word)
  const succeededAt = known === 'SUCCESS' && time !== '' ? fromBeijingDateTime(time) : undefined
  const refund: RefundV2 = {
    outTradeNo: at('out_trade_no'),
    transactionId: at('transaction_id'),
    outRefundNo: own('out_refund_no'),
    refundId: own('refund_id'),
    state: known ?? 'PROCESSING',
    amount: { total: Number(at('total_fee')), refund: Number(own('refund_fee')) },
    ...(succeededAt !== undefined && { successTime: succeededAt })
  }

  function findFault(): RefundFieldV2 | undefined {
    if (!ORDER_NUMBER.test(refund.outTradeNo)) return 'out_trade_no'
    if (!ID.test(refund.transactionId)) return 'transaction_id'
    if (!REFUND_NUMBER.test(refund.outRefundNo)) return 'out_refund_no'
    if (!ID.test(refund.refundId)) return 'refund_id'
    if (!FEN.test(at('total_fee'))) return 'total_fee'
    if (!FEN.test(own('refund_fee')) || refund.amount.refund > refund.amount.total) return 'refund_fee'
    if (known === undefined) return 'refund_status'
    return known === 'SUCCESS' && time !== '' && succeededAt === undefined ? 'success_time' : undefined
  }

  return { refund, findFault }
}
