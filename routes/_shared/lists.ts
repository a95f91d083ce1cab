/** What the lists of /internal have in common: how much of them, from where on, and their shape. */
import { type TSchema, Type } from '@sinclair/typebox'
import { Optional } from './schemas.ts'

/** Query values are texts. */
export const pageFields = (cursorPattern: string) => ({
  limit: Type.Optional(
    Type.String({ pattern: '^([1-9][0-9]?|100)$', default: '20', description: 'at most so many, 1 to 100' })
  ),
  cursor: Type.Optional(Type.String({ pattern: cursorPattern, description: '`next` of the page before' }))
})

/** A whole time in base 36, a dot, a name: up to 2^53 ms, and what our ids are made of. */
export const PLACE_CURSOR = '^[0-9a-z]{1,10}\\.[\\w.-]{1,200}$'

export const listOf = <T extends TSchema>($id: string, item: T, example: { items: unknown[]; next?: string }) =>
  Type.Object(
    {
      items: Type.Array(item),
      next: Optional(Type.String({ description: 'the cursor of the next page, where there is one' }))
    },
    { $id, examples: [example] }
  )
