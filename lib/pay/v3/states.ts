/** The states of orders and refunds in APIv3's words, which are the contract's for both APIs. */

/** Paid is SUCCESS or REFUND. The last three come with payments by code only. */
export const ORDER_STATES = ['SUCCESS', 'REFUND', 'NOTPAY', 'CLOSED', 'REVOKED', 'USERPAYING', 'PAYERROR'] as const
export type OrderState = (typeof ORDER_STATES)[number]

/** SUCCESS and CLOSED are final; ABNORMAL may still become SUCCESS. */
export const REFUND_STATES = ['SUCCESS', 'CLOSED', 'ABNORMAL', 'PROCESSING'] as const
export type RefundState = (typeof REFUND_STATES)[number]

const REFUND_STATE_BY_V2: ReadonlyMap<string, RefundState> = new Map([
  ['SUCCESS', 'SUCCESS'],
  ['REFUNDCLOSE', 'CLOSED'],
  ['CHANGE', 'ABNORMAL'],
  ['PROCESSING', 'PROCESSING']
])

/** An APIv2 trade_state. ACCEPT waits for its money, so it is not paid. undefined for a word that is none. */
export function orderStateOfV2(tradeState: string): OrderState | undefined {
  return tradeState === 'ACCEPT' ? 'NOTPAY' : ORDER_STATES.find((state) => state === tradeState)
}

/** An APIv2 refund_status. undefined for a word that is none. */
export function refundStateOfV2(refundStatus: string): RefundState | undefined {
  return REFUND_STATE_BY_V2.get(refundStatus)
}
