/** JSON Schema as the routes write it (draft 7) into what OpenAPI 3.1 reads (2020-12), with a name for each shape that has a title. */
import { isDeepStrictEqual } from 'node:util'

export type Schema = { [keyword: string]: unknown }

export interface Shapes {
  /** The same schema, with a reference in place of each object that has a title. */
  refer(schema: Schema): Schema
  /** Every shape that was referred to, by name, in alphabetical order. */
  named(): Record<string, Schema>
}

/** Throws where two shapes of one title differ. */
export function collectShapes(): Shapes {
  const found = new Map<string, Schema>()

  function name(schema: Schema): Schema {
    const { title, type } = schema
    if (typeof title !== 'string' || type !== 'object') return schema
    const known = found.get(title) ?? schema
    if (!isDeepStrictEqual(known, schema)) throw new Error(`two different schemas have the title ${title}`)
    found.set(title, known)
    return { $ref: `#/components/schemas/${title}` }
  }

  return {
    refer: (schema) => mapSchema(schema, (part) => name(withDependentRequired(part))),
    named: () => Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}

/** 2020-12 has another name for `dependencies` on names alone, which is how the routes use it. */
function withDependentRequired({ dependencies, ...schema }: Schema): Schema {
  return dependencies === undefined ? schema : { ...schema, dependentRequired: dependencies }
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Keywords whose value is a schema, a list of schemas, or schemas by name. */
const ONE = new Set(['items', 'additionalProperties', 'not'])
const SEVERAL = new Set(['anyOf', 'oneOf', 'allOf'])
const BY_NAME = new Set(['properties', 'patternProperties'])

/** `change` for a schema and all schemas in it, the innermost first. Examples and the like are left as they are. */
function mapSchema(schema: Schema, change: (part: Schema) => Schema): Schema {
  const inner = (value: unknown) => (isSchema(value) ? mapSchema(value, change) : value)
  const changed = Object.entries(schema).map(([keyword, value]) => {
    if (ONE.has(keyword)) return [keyword, inner(value)]
    if (SEVERAL.has(keyword) && Array.isArray(value)) return [keyword, value.map(inner)]
    if (BY_NAME.has(keyword) && isSchema(value))
      return [keyword, Object.fromEntries(Object.entries(value).map(([name, part]) => [name, inner(part)]))]
    return [keyword, value]
  })
  return change(Object.fromEntries(changed))
}
