/** The refund of an outcome that has to be one. */
import type { RefundOutcome, RefundStatus } from '../../../lib/pay/api.ts'

export function madeOf(outcome: RefundOutcome): RefundStatus {
  if (outcome.status === 'made') return outcome.refund
  throw outcome.error
}
