import { Type } from '@sinclair/typebox'
import { problems } from '../../schemas.ts'

export const TestSchema = {
  tags: ['mini-program'],
  summary: 'Answers; the first thing to get working through HTTPS',
  response: { 200: Type.Object({ ok: Type.Integer() }), ...problems() }
}
