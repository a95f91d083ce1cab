import { Type } from '@sinclair/typebox'
import { Appid, INTERNAL_PROBLEMS, Openid, problems, WECHAT_PROBLEMS } from '../../../schemas.ts'

/** WeChat Pay takes no character of four bytes (emoji) anywhere. */
const PlainText = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, pattern: '^[\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd]*$' })

/** RFC 3339 with a zone. The format knows the calendar but takes looser spellings too, which Date does not read. */
const Instant = Type.String({
  format: 'date-time',
  pattern: '^20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]\\d\\d:\\d\\d)$',
  description: 'when the order can no longer be paid, e.g. 2030-01-31T20:15:00+08:00'
})

export const OrderSchema = {
  operationId: 'createOrder',
  tags: ['payments'],
  summary: 'Make an order and what wx.requestPayment needs for it',
  body: Type.Object(
    {
      openid: Openid,
      outTradeNo: Type.String({ pattern: '^[0-9A-Za-z_|*-]{6,32}$', description: 'your number of this order' }),
      description: PlainText(127),
      amount: Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'fen' }),
      appid: Type.Optional(Appid),
      mchid: Type.Optional(Type.String({ pattern: '^[0-9]{8,10}$' })),
      attach: Type.Optional(PlainText(127)),
      timeExpire: Type.Optional(Instant),
      api: Type.Optional(Type.Union([Type.Literal('v2'), Type.Literal('v3')]))
    },
    {
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
    ...problems(...INTERNAL_PROBLEMS, 'APP_UNKNOWN', 'PAY_REJECTED', ...WECHAT_PROBLEMS)
  }
}
