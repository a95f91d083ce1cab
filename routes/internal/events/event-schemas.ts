/** The events that are posted to the merchant's backend, by type: docs/events.md says what their members mean. */
import { type TProperties, Type } from '@sinclair/typebox'
import { Time } from '../../_shared/schemas.ts'
import { Api, PaidAmount, RefundAmount } from '../pay/schemas.ts'

interface About<Data extends TProperties> {
  $id: string
  description: string
  data: Data
  /** Of the data. */
  example: object
}

const Raw = Type.Object({}, { additionalProperties: true, description: "WeChat's fields as they came" })

const eventOf = <Type extends string, Data extends TProperties>(type: Type, about: About<Data>) => {
  const { $id, description, data, example } = about
  const timestamp = Type.String({ format: 'date-time', description: 'when it happened' })
  const examples = [{ type, timestamp: '2026-11-23T18:46:40.000Z', data: example }]
  const properties = { type: Type.Literal(type), timestamp, data: Type.Object(data) }
  return { ...Type.Object(properties, { description, examples }), $id }
}

export const PAYMENT_EXAMPLE = {
  api: 'v3',
  appid: 'wx0123456789abcdef',
  mchid: '1900000109',
  openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
  outTradeNo: 'T20261123_0001',
  transactionId: '4200432476202611243626934420',
  amount: { total: 4200, payerTotal: 4200, currency: 'CNY' },
  successTime: '2026-11-23T18:46:40.000Z',
  bankType: 'OTHERS',
  orderKnown: true,
  raw: { out_trade_no: 'T20261123_0001', trade_state: 'SUCCESS' }
}

const PaymentSucceeded = eventOf('payment.succeeded', {
  $id: 'PaymentSucceeded',
  description: 'A user has paid',
  data: {
    api: Api,
    appid: Type.String(),
    mchid: Type.String(),
    openid: Type.String({ description: 'the payer' }),
    outTradeNo: Type.String({ description: 'your number of the order' }),
    transactionId: Type.String({ description: "WeChat's number of the payment" }),
    amount: PaidAmount,
    successTime: Time,
    attach: Type.Optional(Type.String()),
    bankType: Type.Optional(Type.String()),
    orderKnown: Type.Boolean({
      description: 'made here; then appid, merchant and amount were compared with the order'
    }),
    raw: Raw
  },
  example: PAYMENT_EXAMPLE
})

const REFUND_DATA = {
  api: Api,
  mchid: Type.String(),
  outTradeNo: Type.String({ description: 'your number of the order' }),
  transactionId: Type.String({ description: "WeChat's number of the payment" }),
  outRefundNo: Type.String({ description: 'your number of the refund' }),
  refundId: Type.String({ description: "WeChat's number of the refund" }),
  amount: RefundAmount,
  successTime: Type.Optional(Time),
  raw: Raw
}

const REFUND_EXAMPLE = {
  api: 'v3',
  mchid: '1900000109',
  outTradeNo: 'T20261123_0001',
  transactionId: '4200432476202611243626934420',
  outRefundNo: 'R20261123_0001',
  refundId: '50302028072026112414635656726',
  amount: { total: 4200, refund: 1200 },
  raw: { out_refund_no: 'R20261123_0001' }
}

const RefundSucceeded = eventOf('refund.succeeded', {
  $id: 'RefundSucceeded',
  description: 'The payer has the money back',
  data: REFUND_DATA,
  example: { ...REFUND_EXAMPLE, successTime: '2026-11-23T18:46:40.000Z' }
})
const RefundClosed = eventOf('refund.closed', {
  $id: 'RefundClosed',
  description: 'The refund will not happen; ask again under a new number',
  data: REFUND_DATA,
  example: REFUND_EXAMPLE
})
const RefundAbnormal = eventOf('refund.abnormal', {
  $id: 'RefundAbnormal',
  description: "The payer's bank does not take the refund; settle it in the merchant platform",
  data: REFUND_DATA,
  example: REFUND_EXAMPLE
})

const MessageReceived = eventOf('message.received', {
  $id: 'MessageReceived',
  description: 'A user wrote to customer service, or something happened in the mini-program',
  data: {
    appid: Type.String(),
    openid: Type.String({ description: 'the user it is about; empty where WeChat names nobody' }),
    msgType: Type.String({ description: "event, or the kind of a customer's message" }),
    event: Type.Optional(Type.String({ description: 'which event; absent in messages' })),
    createTime: Time,
    raw: Raw
  },
  example: {
    appid: 'wx0123456789abcdef',
    openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
    msgType: 'text',
    createTime: '2026-11-23T18:46:40.000Z',
    raw: { MsgType: 'text', Content: 'Hello', MsgId: '23838902912345678' }
  }
})

/** Each is posted to the merchant's backend, as a webhook of the OpenAPI document. */
export const EVENT_SCHEMAS = [PaymentSucceeded, RefundSucceeded, RefundClosed, RefundAbnormal, MessageReceived]
