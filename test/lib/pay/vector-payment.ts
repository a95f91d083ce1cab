/** The payment that the notices of the vectors are about, in the words of its event. */
export const VECTOR_PAYMENT = {
  appid: 'wx2421b1c4370ec43b',
  mchid: '1900000109',
  openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
  outTradeNo: 'T20250101_0001',
  transactionId: '4200002400202501011234567890',
  successTime: '2025-01-01T00:01:05.000Z',
  orderKnown: true
}

export const VECTOR_AMOUNT = { total: 100, currency: 'CNY' }

/** The order behind it, as it is recorded; without its app, which differs. */
export const RECORDED_ORDER = {
  api: 'v2',
  mchid: VECTOR_PAYMENT.mchid,
  outTradeNo: VECTOR_PAYMENT.outTradeNo,
  openid: VECTOR_PAYMENT.openid,
  totalFen: VECTOR_AMOUNT.total,
  currency: VECTOR_AMOUNT.currency,
  description: 'tea',
  createdAt: 1735689600
} as const
