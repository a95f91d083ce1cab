import { Type } from '@sinclair/typebox'
import { problems } from '../../_shared/schemas.ts'

export const TestSchema = {
  operationId: 'testConnection',
  tags: ['mini-program'],
  summary: 'Answers; the first thing to get working through HTTPS',
  response: { 200: Type.Object({ ok: Type.Integer() }, { examples: [{ ok: 1 }] }), ...problems() }
}
