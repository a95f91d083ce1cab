/**
 * One refund under its number, whatever is lost on the way: nobody is answered that it was refused while WeChat may
 * have made it (docs/wechat/pay.md A11, B12).
 */
import { type ErrorCode, ServiceError } from '../errors.ts'
import type { Merchant } from '../settings/model.ts'
import { ifFound, type PayApi, type RefundRequest, type RefundStatus, type RefundTry } from './model.ts'

export type RefundOutcome =
  | { status: 'made'; refund: RefundStatus }
  /** `mayExist`: WeChat may have made it, or make it yet; only the same number is safe. */
  | { status: 'refused'; error: ServiceError; mayExist: boolean }

/** Failures after which WeChat may have done what it was asked. */
const UNCLEAR: ReadonlySet<ErrorCode> = new Set([
  'WECHAT_BUSY',
  'WECHAT_TIMEOUT',
  'WECHAT_UNREACHABLE',
  'WECHAT_BAD_RESPONSE'
])

/** Asks; where it is unclear what came of it queries, and asks once more only where WeChat has none of this number. */
export async function refundOnce(api: PayApi, merchant: Merchant, request: RefundRequest): Promise<RefundOutcome> {
  const first = await api.refund(merchant, request)
  if (first.status === 'made') return first
  const mayBeDone = isUnclear(first)
  if (!mayBeDone && !first.queryFirst) return refused(first.error)
  const found = await look(() => api.queryRefund(merchant, request.outRefundNo), request)
  if (found.status === 'found') return { status: 'made', refund: found.refund }
  if (found.status === 'another') return refused(numberTaken())
  if (found.status === 'unknown') return undecided(mayBeDone ? first.error : found.error)
  if (!mayBeDone) return refused(first.error)
  const second = await api.refund(merchant, request)
  return second.status === 'made' ? second : undecided(second.error)
}

const isUnclear = ({ error, mayBeDone }: RefundTry & { status: 'refused' }): boolean =>
  mayBeDone ?? UNCLEAR.has(error.code)

type Found =
  | { status: 'found'; refund: RefundStatus }
  | { status: 'another' }
  | { status: 'none' }
  | { status: 'unknown'; error: ServiceError }

async function look(query: () => Promise<RefundStatus>, request: RefundRequest): Promise<Found> {
  try {
    const refund = await ifFound(query())
    if (refund === undefined) return { status: 'none' }
    return isSame(refund, request) ? { status: 'found', refund } : { status: 'another' }
  } catch (error) {
    if (error instanceof ServiceError) return { status: 'unknown', error }
    throw error
  }
}

function isSame(found: RefundStatus, { outTradeNo, transactionId, amount, total }: RefundRequest): boolean {
  const isOfOrder =
    transactionId === undefined ? found.outTradeNo === outTradeNo : found.transactionId === transactionId
  return isOfOrder && found.amount.refund === amount && found.amount.total === total
}

const refused = (error: ServiceError): RefundOutcome => ({ status: 'refused', error, mayExist: false })

const numberTaken = (): ServiceError =>
  new ServiceError('PAY_REJECTED', {
    message: 'This outRefundNo was used for another refund; take another number'
  })

/** These read as the last word on the refund, and as leave to take another number. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['PAY_REJECTED', 'NOT_FOUND'])

function undecided(error: ServiceError): RefundOutcome {
  return { status: 'refused', error: FINAL.has(error.code) ? unclear(error) : error, mayExist: true }
}

const unclear = ({ wechat, detail }: ServiceError): ServiceError =>
  new ServiceError('WECHAT_BUSY', {
    message:
      'It is not clear yet whether WeChat made this refund; repeat the same call in a while, never with another number',
    wechat,
    detail
  })
