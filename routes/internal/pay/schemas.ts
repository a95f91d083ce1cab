/** What the calls of the merchant's backend about orders, refunds and bills have in common. */
import { Type } from '@sinclair/typebox'
import { INTERNAL_PROBLEMS, Optional, StringEnum, WECHAT_PROBLEMS } from '../../_shared/schemas.ts'

/** WeChat Pay takes no character of four bytes (emoji) anywhere. */
export const PlainText = (maxLength: number, description?: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: '^[\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd]*$',
    ...(description && { description })
  })

export const Fen = Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'fen' })
export const Mchid = Type.String({ pattern: '^[0-9]{8,10}$', description: 'the merchant', examples: ['1900000109'] })
export const Api = StringEnum(['v2', 'v3'])

export const OutTradeNo = Type.String({
  pattern: '^[0-9A-Za-z_|*-]{6,32}$',
  description: 'your number of this order',
  examples: ['T20261123_0001']
})
export const OutRefundNo = Type.String({
  pattern: '^[0-9A-Za-z_|*@-]{1,64}$',
  description: 'your number of this refund; with it the same call can be repeated safely',
  examples: ['R20261123_0001']
})

/** Query values are texts. */
export const PayHint = Type.Object(
  {
    mchid: Type.Optional({
      ...Mchid,
      description: 'the merchant, where the number was not used here and there are several'
    }),
    api: Type.Optional({
      ...Api,
      description: 'by which api to ask, where the number was not used here; default v3 where its keys are configured'
    })
  },
  { additionalProperties: false }
)

export const PaidAmount = Type.Object({
  total: Type.Integer({ description: 'fen of the order: compare this' }),
  payerTotal: Optional(Type.Integer({ description: 'fen that the payer paid: less, by coupons' })),
  currency: Type.String({ description: 'CNY' })
})
export const RefundAmount = Type.Object({
  total: Type.Integer({ description: 'fen of the order' }),
  refund: Type.Integer({ description: 'fen given back' })
})

export const PAY_PROBLEMS = [...INTERNAL_PROBLEMS, 'APP_UNKNOWN', 'PAY_REJECTED', ...WECHAT_PROBLEMS] as const
