import { Type } from '@sinclair/typebox'
import { listOf, pageFields } from '../../../_shared/lists.ts'
import { INTERNAL_PROBLEMS, Optional, problems, Time } from '../../../_shared/schemas.ts'

const Texts = (names: string[]) =>
  Type.Object(Object.fromEntries(names.map((name) => [name, Type.Optional(Type.String())])))

const Refused = Type.Object(
  {
    time: Time,
    door: Type.String({ description: 'pay-v2, pay-v2-refund, pay-v3 or push' }),
    verdict: Type.String({ description: 'refused, unknown-merchant, or quarantined: authentic, and kept' }),
    reason: Type.String({ description: 'what was wrong, in a word' }),
    requestId: Type.String({ description: 'by which the log has it' }),
    mchid: Optional(Type.String({ description: 'whose address it came to' })),
    appid: Optional(Type.String({ description: 'whose address it came to' })),
    bytes: Optional(Type.Integer({ description: 'of the body, where it was read' })),
    sha256: Optional(Type.String({ description: 'of the body, in hex' })),
    headers: Texts([
      'wechatpay-serial',
      'wechatpay-timestamp',
      'wechatpay-nonce',
      'content-type',
      'content-length',
      'user-agent'
    ]),
    query: Optional(Texts(['timestamp', 'nonce', 'encrypt_type']))
  },
  { $id: 'RefusedCallback' }
)

export const RefusedSchema = {
  operationId: 'listRefusedCallbacks',
  tags: ['callbacks'],
  summary: 'The last 1,000 callbacks that were refused, newest first; of a flood a part',
  querystring: Type.Object(pageFields('^\\d{1,15}-\\d{1,10}$'), { additionalProperties: false }),
  response: {
    200: listOf('RefusedCallbackList', Refused, {
      items: [
        {
          time: '2026-11-23T18:46:41.120Z',
          door: 'pay-v2',
          verdict: 'refused',
          reason: 'signature',
          requestId: 'Zk3mXq0a-1f',
          mchid: '1900000109',
          bytes: 812,
          sha256: 'b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9',
          headers: { 'content-type': 'text/xml', 'content-length': '812', 'user-agent': 'Mozilla/4.0' }
        }
      ],
      next: '1795459601120-0'
    }),
    ...problems(...INTERNAL_PROBLEMS)
  }
}
