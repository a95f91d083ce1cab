/** The refund of an outcome that has to be one. */
import type { RefundStatus } from '../../../lib/pay/model.ts'
import type { RefundOutcome } from '../../../lib/pay/refund-once.ts'

export function madeOf(outcome: RefundOutcome): RefundStatus {
  if (outcome.status === 'made') return outcome.refund
  throw outcome.error
}
