import { Type } from '@sinclair/typebox'
import { problems, StringEnum } from '../../../_shared/schemas.ts'
import { PAY_PROBLEMS, PayHint } from '../schemas.ts'

export const BillSchema = {
  operationId: 'downloadBill',
  tags: ['payments'],
  summary: 'The bill of a day, as WeChat wrote it',
  description:
    'Ready from about 10 h of the next day (Beijing) on; WeChat keeps three months. Amounts are yuan. A connection ' +
    'that breaks off means that the bill is not the one WeChat announced, or not whole: throw away what came.',
  params: Type.Object({ kind: StringEnum(['trade', 'fundflow']) }),
  querystring: Type.Object(
    {
      date: Type.String({
        format: 'date',
        pattern: '^20\\d\\d-\\d\\d-\\d\\d$',
        description: 'a day of Beijing, YYYY-MM-DD',
        examples: ['2026-11-22']
      }),
      ...PayHint.properties
    },
    { additionalProperties: false }
  ),
  response: {
    200: {
      description: 'The whole bill: the hash that WeChat announced is right.',
      content: { 'text/csv': { schema: Type.Unsafe<unknown>({ type: 'string' }) } }
    },
    ...problems(...PAY_PROBLEMS, 'NOT_FOUND')
  }
}
