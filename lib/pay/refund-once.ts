/** One refund under its number, whatever is lost on the way: nobody is told that it was refused while WeChat may have made it (pay.md A11, B12). */
import { type ErrorCode, ServiceError } from '../errors.ts'
import type { RefundOutcome, RefundRequest, RefundStatus } from './api.ts'
import { ifFound } from './if-found.ts'

/** What one call came to. */
export type RefundTry =
  | { status: 'made'; refund: RefundStatus }
  | {
      status: 'refused'
      error: ServiceError
      /** WeChat may have made the refund by this very call. */
      mayBeDone: boolean
      /** By this call or one before it: the answer does not say. */
      queryFirst: boolean
    }

export interface RefundCalls {
  ask(): Promise<RefundTry>
  /** Throws NOT_FOUND where WeChat has none of this number, and what hinders the query. */
  query(): Promise<RefundStatus>
}

/** Failures after which WeChat may have done what it was asked. */
const UNCLEAR: ReadonlySet<ErrorCode> = new Set([
  'WECHAT_BUSY',
  'WECHAT_TIMEOUT',
  'WECHAT_UNREACHABLE',
  'WECHAT_BAD_RESPONSE'
])

/** `isKnown`: what WeChat said is documented to mean that it did nothing. */
export function refusedTry(error: ServiceError, isKnown: boolean): RefundTry {
  const mayBeDone = UNCLEAR.has(error.code)
  return { status: 'refused', error, mayBeDone, queryFirst: mayBeDone || !isKnown }
}

/** A call that throws where it got no answer, or none that can be used. */
export async function tried(call: () => Promise<RefundTry>): Promise<RefundTry> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ServiceError) return refusedTry(error, true)
    throw error
  }
}

/** Asks; where it is unclear what came of it queries, and asks once more only where WeChat has none of this number. */
export async function refundOnce(request: RefundRequest, { ask, query }: RefundCalls): Promise<RefundOutcome> {
  const first = await ask()
  if (first.status === 'made') return first
  if (!first.queryFirst) return refused(first.error)
  const found = await look(query, request)
  if (found.status === 'found') return { status: 'made', refund: found.refund }
  if (found.status === 'another') return refused(numberTaken())
  if (found.status === 'unknown') return undecided(first.mayBeDone ? first.error : found.error)
  if (!first.mayBeDone) return refused(first.error)
  const second = await ask()
  return second.status === 'made' ? second : undecided(second.error)
}

type Found =
  | { status: 'found'; refund: RefundStatus }
  | { status: 'another' }
  | { status: 'none' }
  | { status: 'unknown'; error: ServiceError }

async function look(query: RefundCalls['query'], request: RefundRequest): Promise<Found> {
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
    ...(wechat && { wechat }),
    ...(detail && { detail })
  })
