/** A test sets whether a bill exists, or what it contains. */
import { type Static, Type } from '@sinclair/typebox'
import type { World } from '../world.ts'
import { ActError } from './act.ts'

export const BillInput = Type.Object(
  {
    mchid: Type.String(),
    kind: Type.Union([Type.Literal('trade'), Type.Literal('fundflow')]),
    date: Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$', description: 'of Beijing' }),
    status: Type.Optional(
      Type.Union([Type.Literal('ready'), Type.Literal('creating'), Type.Literal('none')], {
        description: 'whatever the hour; default ready'
      })
    ),
    csv: Type.Optional(Type.String({ description: 'what it says; default: what happened that day' }))
  },
  { additionalProperties: false }
)
export type BillInput = Static<typeof BillInput>

/** From now on, for both APIs. Throws ActError 404. */
export function bill({ merchants, bills }: World, { status = 'ready', csv, ...name }: BillInput): { arranged: true } {
  if (!merchants.has(name.mchid)) throw new ActError(404, `the sandbox has no merchant ${name.mchid}`)
  bills.script(name, { status, ...(csv !== undefined && { csv }) })
  return { arranged: true }
}
