import { Type } from '@sinclair/typebox'
import { listOf, PLACE_CURSOR, pageFields } from '../../../_shared/lists.ts'
import { INTERNAL_PROBLEMS, NoBody, Optional, problems, Time } from '../../../_shared/schemas.ts'

const Quarantined = Type.Object(
  {
    id: Type.String(),
    identity: Type.String({ description: 'what it is about, as far as it says: the webhook-id it would get' }),
    door: Type.String({ description: 'pay-v2, pay-v2-refund, pay-v3 or push' }),
    reason: Type.String({ description: 'what contradicts, in a word' }),
    firstSeen: Time,
    lastSeen: Time,
    times: Type.Integer({ description: 'how often it came' })
  },
  { $id: 'QuarantinedCallback' }
)

export const QuarantinedSchema = {
  operationId: 'listQuarantinedCallbacks',
  tags: ['callbacks'],
  summary: 'Authentic callbacks that contradict our settings or our order, newest first; their bodies stay sealed',
  querystring: Type.Object(pageFields(PLACE_CURSOR), { additionalProperties: false }),
  response: {
    200: listOf('QuarantinedCallbackList', Quarantined, {
      items: [
        {
          id: 'Q3cYpB0nT4mJ8xk1d2VfZw',
          identity: 'pay_1900000109_4200432476202611243626934420',
          door: 'pay-v2',
          reason: 'amount-mismatch',
          firstSeen: '2026-11-23T18:46:41.120Z',
          lastSeen: '2026-11-23T18:46:56.345Z',
          times: 2
        }
      ],
      next: 'mic4a1vk.Q3cYpB0nT4mJ8xk1d2VfZw'
    }),
    ...problems(...INTERNAL_PROBLEMS)
  }
}

export const RetryCallbackSchema = {
  operationId: 'retryQuarantinedCallback',
  tags: ['callbacks'],
  summary: 'Verify and record a callback in quarantine with the settings of today',
  params: Type.Object({ id: Type.String({ examples: ['Q3cYpB0nT4mJ8xk1d2VfZw'] }) }),
  body: NoBody,
  response: {
    202: Type.Object(
      {
        verdict: Type.String({
          description: 'recorded, duplicate, unconfirmed or not-success: it has left quarantine; all else: it stays'
        }),
        reason: Optional(Type.String({ description: 'why it stays, in a word' })),
        webhookId: Optional(Type.String())
      },
      { examples: [{ verdict: 'recorded', webhookId: 'pay_1900000109_4200432476202611243626934420' }] }
    ),
    ...problems('NOT_FOUND', ...INTERNAL_PROBLEMS)
  }
}
