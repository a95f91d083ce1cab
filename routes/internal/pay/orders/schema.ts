import { Type } from '@sinclair/typebox'
import { Appid, NoBody, Openid, Optional, problems, StringEnum, Time } from '../../../_shared/schemas.ts'
import { Api, Fen, Mchid, OutTradeNo, PAY_PROBLEMS, PaidAmount, PayHint, PlainText } from '../schemas.ts'

/** RFC 3339 with a zone. The format knows the calendar but takes looser spellings too, which Date does not read. */
const Instant = Type.String({
  format: 'date-time',
  pattern: '^20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]\\d\\d:\\d\\d)$',
  description: 'when the order can no longer be paid, e.g. 2030-01-31T20:15:00+08:00'
})

export const CreateOrderSchema = {
  operationId: 'createOrder',
  tags: ['payments'],
  summary: 'Make an order and what wx.requestPayment needs for it',
  body: Type.Object(
    {
      openid: Openid,
      outTradeNo: OutTradeNo,
      description: PlainText(127),
      amount: Fen,
      appid: Type.Optional(Appid),
      mchid: Type.Optional(Mchid),
      attach: Type.Optional(PlainText(127)),
      timeExpire: Type.Optional(Instant),
      api: Type.Optional({ ...Api, description: 'default v3 where its keys are configured' })
    },
    {
      $id: 'OrderRequest',
      additionalProperties: false,
      examples: [
        {
          openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
          outTradeNo: 'T20261123_0001',
          description: 'Oolong tea, 250 g',
          amount: 4200,
          timeExpire: '2026-11-24T03:16:40+08:00'
        }
      ]
    }
  ),
  response: {
    200: Type.Object(
      {
        prepayId: Type.String(),
        payParams: Type.Object(
          {
            timeStamp: Type.String(),
            nonceStr: Type.String(),
            package: Type.String(),
            signType: Type.String(),
            paySign: Type.String()
          },
          { description: 'hand it to wx.requestPayment as it is' }
        )
      },
      {
        $id: 'CreatedOrder',
        examples: [
          {
            prepayId: 'wx241124464000011a2b3c4d5e6f70000',
            payParams: {
              timeStamp: '1795459600',
              nonceStr: 'AIYjGIG6avDrbBbPvjuYkwIIB1Pw5hjk',
              package: 'prepay_id=wx241124464000011a2b3c4d5e6f70000',
              signType: 'HMAC-SHA256',
              paySign: 'D4B417EE3DF7F9258B529842244A91FB72915630DCA3BBC6D7CE846C442F086D'
            }
          }
        ]
      }
    ),
    ...problems(...PAY_PROBLEMS)
  }
}

const OrderParams = Type.Object({ outTradeNo: OutTradeNo })

const State = StringEnum(['SUCCESS', 'REFUND', 'NOTPAY', 'CLOSED', 'REVOKED', 'USERPAYING', 'PAYERROR'], {
  description: 'SUCCESS and REFUND were paid; a later answer never says less than an earlier one'
})

export const FindOrderSchema = {
  operationId: 'findOrder',
  tags: ['payments'],
  summary: 'An order as WeChat has it now',
  params: OrderParams,
  querystring: PayHint,
  response: {
    200: Type.Object(
      {
        api: Api,
        appid: Type.String(),
        mchid: Type.String(),
        outTradeNo: Type.String(),
        transactionId: Optional(Type.String({ description: "WeChat's number of the payment" })),
        state: State,
        amount: Optional(PaidAmount),
        openid: Optional(Type.String()),
        successTime: Optional(Time),
        attach: Optional(Type.String())
      },
      {
        $id: 'Order',
        examples: [
          {
            api: 'v3',
            appid: 'wx0123456789abcdef',
            mchid: '1900000109',
            outTradeNo: 'T20261123_0001',
            transactionId: '4200002479202611231234567890',
            state: 'SUCCESS',
            amount: { total: 4200, payerTotal: 4000, currency: 'CNY' },
            openid: 'oZNnE1nCIQif3LUPeKGGo3ey12WG',
            successTime: '2026-11-23T18:47:02.000Z'
          }
        ]
      }
    ),
    ...problems(...PAY_PROBLEMS, 'NOT_FOUND')
  }
}

export const CloseOrderSchema = {
  operationId: 'closeOrder',
  tags: ['payments'],
  summary: 'Close an order, so that nobody can pay it any more; PAY_REJECTED where it is paid already',
  params: OrderParams,
  querystring: PayHint,
  body: NoBody,
  response: {
    204: Type.Null({ description: 'The order is closed.' }),
    ...problems(...PAY_PROBLEMS, 'NOT_FOUND')
  }
}
