/** What became of a refund whose answer told nothing (pay.md A11, B12). */
import { ServiceError } from '../errors.ts'
import type { RefundRequest, RefundStatus } from './api.ts'

/** undefined where WeChat has none of this number. Throws PAY_REJECTED where it has another one, and what hinders the query. */
export async function findLostRefund(
  query: Promise<RefundStatus>,
  request: RefundRequest
): Promise<RefundStatus | undefined> {
  const found = await query.catch((error: unknown) => {
    if (error instanceof ServiceError && error.code === 'NOT_FOUND') return undefined
    throw error
  })
  if (found !== undefined && !isSame(found, request))
    throw new ServiceError('PAY_REJECTED', {
      message: 'This outRefundNo was used for another refund; take another number'
    })
  return found
}

function isSame(found: RefundStatus, { outTradeNo, transactionId, amount, total }: RefundRequest): boolean {
  const isOfOrder =
    transactionId === undefined ? found.outTradeNo === outTradeNo : found.transactionId === transactionId
  return isOfOrder && found.amount.refund === amount && found.amount.total === total
}
