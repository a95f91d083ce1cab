/** Names of schemas: what has an `$id` stands once among the components, and is referred to elsewhere. */
import { isDeepStrictEqual } from 'node:util'

export type Schema = { [keyword: string]: unknown }

/** Where a name leads. */
export const REF = '#/components/schemas/'

/**
 * A copy with a reference in place of every schema that has an `$id`; the schemas themselves come into `named`. What is
 * for the document alone stands under `x-shown` and is shown instead. `dependencies` has another name in OpenAPI 3.1.
 * Throws where two different schemas have one `$id`.
 */
export function refer<Part>(part: Part, named: Schema): Part
export function refer(part: unknown, named: Schema): unknown {
  if (Array.isArray(part)) return part.map((each) => refer(each, named))
  if (typeof part !== 'object' || part === null) return part
  const { $id, 'x-shown': shown, 'x-codes': _, dependencies: dependentRequired, ...rest } = part as Schema
  if (shown !== undefined) return refer(shown, named)
  const own = dependentRequired === undefined ? rest : { ...rest, dependentRequired }
  const copy = Object.fromEntries(Object.entries(own).map(([name, each]) => [name, refer(each, named)]))
  if (typeof $id !== 'string') return copy
  if (!isDeepStrictEqual(named[$id] ?? copy, copy)) throw new Error(`two different schemas have the $id ${$id}`)
  named[$id] = copy
  return { $ref: REF + $id }
}
