import { Type } from '@sinclair/typebox'
import { StringEnum } from '../../_shared/string-enum.ts'
import { INTERNAL_PROBLEMS, NoBody, problems } from '../../schemas.ts'
import { listOf, PLACE_CURSOR, pageFields, Time } from '../list-schemas.ts'

const State = StringEnum(['waiting', 'delivered', 'failed'], {
  description: 'waiting: not delivered yet; failed: nobody tries any more'
})

const summary = {
  id: Type.String({ description: 'the webhook-id' }),
  type: Type.String(),
  state: State,
  recordedAt: Time,
  attempts: Type.Integer({ description: 'tries that ended, since it was recorded or sent again' }),
  lastStatus: Type.Optional(Type.Integer({ description: 'what the receiver answered last' })),
  lastError: Type.Optional(Type.String({ description: 'why the last try failed' })),
  nextTryAt: Type.Optional(Type.String({ format: 'date-time', description: 'where it pauses' })),
  deliveredAt: Type.Optional(Time),
  failedAt: Type.Optional(Time)
}

const example = {
  id: 'pay_1900000109_4200432476202611243626934420',
  type: 'payment.succeeded',
  state: 'waiting',
  recordedAt: '2026-11-23T18:46:41.120Z',
  attempts: 2,
  lastStatus: 502,
  lastError: 'the receiver answered 502',
  nextTryAt: '2026-11-23T18:47:18.904Z'
}

const params = Type.Object({
  id: Type.String({ description: 'the webhook-id', examples: ['pay_1900000109_4200432476202611243626934420'] })
})

export const ListSchema = {
  operationId: 'listEvents',
  tags: ['events'],
  summary: 'What was recorded, newest first: what waits by when it was recorded, what ended by when it did',
  querystring: Type.Object(
    { state: Type.Optional(State), ...pageFields(PLACE_CURSOR) },
    { additionalProperties: false }
  ),
  response: {
    200: listOf(Type.Object(summary), {
      items: [example],
      next: 'mic4a1vk.pay_1900000109_4200432476202611243626934420.3c9909af.9d2f11'
    }),
    ...problems(...INTERNAL_PROBLEMS)
  }
}

export const FindSchema = {
  operationId: 'getEvent',
  tags: ['events'],
  summary: 'One event, and how its delivery went',
  params,
  response: {
    200: Type.Object(
      {
        ...summary,
        timestamp: Type.String({ format: 'date-time', description: 'when it happened' }),
        data: Type.Object({}, { additionalProperties: true, description: 'as it is posted' })
      },
      {
        examples: [
          {
            ...example,
            timestamp: '2026-11-23T18:46:40.000Z',
            data: {
              api: 'v2',
              mchid: '1900000109',
              outTradeNo: 'T20261123_0001',
              amount: { total: 4200, currency: 'CNY' }
            }
          }
        ]
      }
    ),
    ...problems('NOT_FOUND', ...INTERNAL_PROBLEMS)
  }
}

export const RedeliverSchema = {
  operationId: 'redeliverEvent',
  tags: ['events'],
  summary:
    'Deliver an event at once, whatever its state, under the same webhook-id; where it had ended, with all its tries again',
  params,
  body: NoBody,
  response: {
    202: Type.Object(
      {
        id: summary.id,
        state: Type.Literal('waiting', { description: 'it is posted as soon as what waits before it is' })
      },
      { examples: [{ id: example.id, state: 'waiting' }] }
    ),
    ...problems('NOT_FOUND', ...INTERNAL_PROBLEMS)
  }
}
