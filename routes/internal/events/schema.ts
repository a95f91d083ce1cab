import { Type } from '@sinclair/typebox'
import { listOf, PLACE_CURSOR, pageFields } from '../../_shared/lists.ts'
import { INTERNAL_PROBLEMS, NoBody, Optional, problems, StringEnum, Time } from '../../_shared/schemas.ts'
import { EVENT_SCHEMAS, PAYMENT_EXAMPLE } from './event-schemas.ts'

const State = StringEnum(['waiting', 'delivered', 'failed'], {
  description: 'waiting: not delivered yet; failed: nobody tries any more'
})

const summary = {
  id: Type.String({ description: 'the webhook-id' }),
  type: Type.String(),
  state: State,
  recordedAt: Time,
  attempts: Type.Integer({ description: 'tries that ended, since it was recorded or sent again' }),
  lastStatus: Optional(Type.Integer({ description: 'what the receiver answered last' })),
  lastError: Optional(Type.String({ description: 'why the last try failed' })),
  nextTryAt: Optional(Type.String({ format: 'date-time', description: 'where it pauses' })),
  deliveredAt: Optional(Time),
  failedAt: Optional(Time)
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

const EventSummary = Type.Object(summary, { $id: 'EventSummary', examples: [example] })

const params = Type.Object({
  id: Type.String({ description: 'the webhook-id', examples: ['pay_1900000109_4200432476202611243626934420'] })
})

export const ListEventsSchema = {
  operationId: 'listEvents',
  tags: ['events'],
  summary: 'What was recorded, newest first: what waits by when it was recorded, what ended by when it did',
  querystring: Type.Object(
    { state: Type.Optional(State), ...pageFields(PLACE_CURSOR) },
    { additionalProperties: false }
  ),
  response: {
    200: listOf('EventList', EventSummary, {
      items: [example],
      next: 'mic4a1vk.pay_1900000109_4200432476202611243626934420.3c9909af.9d2f11'
    }),
    ...problems(...INTERNAL_PROBLEMS)
  }
}

export const GetEventSchema = {
  operationId: 'getEvent',
  tags: ['events'],
  summary: 'One event, and how its delivery went',
  params,
  response: {
    200: {
      ...Type.Object({
        ...EventSummary.properties,
        timestamp: Type.String(),
        data: Type.Object({}, { additionalProperties: true })
      }),
      'x-shown': {
        $id: 'RecordedEvent',
        oneOf: EVENT_SCHEMAS.map((event) => ({ allOf: [EventSummary, event] })),
        examples: [{ ...example, timestamp: '2026-11-23T18:46:40.000Z', data: PAYMENT_EXAMPLE }]
      }
    },
    ...problems('NOT_FOUND', ...INTERNAL_PROBLEMS)
  }
}

export const RedeliverEventSchema = {
  operationId: 'redeliverEvent',
  tags: ['events'],
  summary:
    'Deliver an event at once, whatever its state, under the same webhook-id; where it had ended, with all its tries ' +
    'again',
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
