import { Type } from '@sinclair/typebox'
import { Optional, problems, StringEnum, Time } from '../../../_shared/schemas.ts'
import { Fen, OutRefundNo, OutTradeNo, PAY_PROBLEMS, PayHint, PlainText, RefundAmount } from '../schemas.ts'

const Refund = Type.Object(
  {
    outRefundNo: Type.String(),
    refundId: Type.String({ description: "WeChat's number of the refund" }),
    outTradeNo: Type.String(),
    transactionId: Type.String(),
    state: StringEnum(['PROCESSING', 'SUCCESS', 'CLOSED', 'ABNORMAL'], {
      description:
        'SUCCESS and CLOSED are final (CLOSED: refund again under a new number); ' +
        'ABNORMAL waits for a person in the merchant platform'
    }),
    amount: RefundAmount,
    successTime: Optional(Time)
  },
  {
    $id: 'Refund',
    examples: [
      {
        outRefundNo: 'R20261123_0001',
        refundId: '50300002479202611231234567890',
        outTradeNo: 'T20261123_0001',
        transactionId: '4200002479202611231234567890',
        state: 'PROCESSING',
        amount: { total: 4200, refund: 1200 }
      }
    ]
  }
)

export const CreateRefundSchema = {
  operationId: 'createRefund',
  tags: ['payments'],
  summary: 'Give a payment back, in whole or in part; the same call again is the same refund',
  querystring: PayHint,
  body: Type.Object(
    {
      outTradeNo: Type.Optional(OutTradeNo),
      transactionId: Type.Optional(
        Type.String({
          pattern: '^[0-9A-Za-z_-]{1,32}$',
          description: "WeChat's number of the payment, instead of yours"
        })
      ),
      outRefundNo: OutRefundNo,
      amount: { ...Fen, description: 'fen to give back' },
      total: { ...Fen, description: 'fen of the order' },
      reason: Type.Optional(PlainText(80, 'the payer reads it'))
    },
    {
      $id: 'RefundRequest',
      additionalProperties: false,
      oneOf: [{ required: ['outTradeNo'] }, { required: ['transactionId'] }],
      examples: [{ outTradeNo: 'T20261123_0001', outRefundNo: 'R20261123_0001', amount: 1200, total: 4200 }]
    }
  ),
  response: { 200: Refund, ...problems(...PAY_PROBLEMS, 'NOT_FOUND') }
}

export const FindRefundSchema = {
  operationId: 'findRefund',
  tags: ['payments'],
  summary: 'A refund as WeChat has it now',
  params: Type.Object({ outRefundNo: OutRefundNo }),
  querystring: PayHint,
  response: { 200: Refund, ...problems(...PAY_PROBLEMS, 'NOT_FOUND') }
}
