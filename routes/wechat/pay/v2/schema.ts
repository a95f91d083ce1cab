import { Type } from '@sinclair/typebox'

const Answer = Type.String({
  description: 'XML as WeChat Pay wants it: return_code SUCCESS, or FAIL so that it sends again'
})

export const NotifySchema = {
  tags: ['wechat'],
  summary: 'Payment result, APIv2: signed XML',
  params: Type.Object({ mchid: Type.String() }),
  response: { 200: Answer, '4xx': Answer, '5xx': Answer }
}
