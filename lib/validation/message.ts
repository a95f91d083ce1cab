/** What is said of a request that does not fit its schema: which member is wrong, and what it should be. */

/** Of ajv, as far as it is needed here. */
export interface SchemaError {
  keyword: string
  /** A JSON pointer into the request, such as `/items/0/name`. */
  instancePath: string
  params: Record<string, unknown>
  message?: string
}

/** Of a JSON schema, as far as it is needed here. */
interface Described {
  description?: string
  required?: string[]
  properties?: Record<string, Described>
  anyOf?: Described[]
}

/** Names that may be repeated in an answer and in the log: what else stands in the place of a name may be anything. */
const PLAIN_NAME = /^[A-Za-z][\w-]{0,31}$/

/**
 * One sentence. `part` is what was judged: body, params, querystring or headers. Values of the request are never in it.
 */
export function messageOf(errors: readonly SchemaError[], part: string, schema: object | undefined): string {
  const alternatives = missingAlternatives(errors)
  if (alternatives !== undefined) return `${part} must have ${alternatives.join(' or ')}`
  const error = errors.find(isTelling) ?? errors[0]
  if (error === undefined) return `${part} is not of its form`
  const { instancePath, message = 'is not of its form' } = error
  const wanted = error.params.type === 'object' && instancePath === '' ? membersOf(schema) : ''
  const said = `${part}${instancePath} ${unknownMember(error) ?? message}${wanted}`
  const hint = descriptionOf(schema, instancePath, error.params.missingProperty)
  return hint === undefined ? said : `${said}: ${hint}`
}

/** What an object has to have, or where it needs nothing, may have. */
function membersOf(schema: Described | undefined): string {
  const choices = [schema, ...(schema?.anyOf ?? [])]
  const sets = choices.flatMap((choice) => (choice?.required?.length ? [choice.required.join(' and ')] : []))
  if (sets.length > 0) return ` with ${sets.join(', or with ')}`
  const known = choices.flatMap((choice) => Object.keys(choice?.properties ?? {}))
  return known.length === 0 ? '' : `; it may have ${known.join(', ')}`
}

/** Where any of several members would do, and none is there. */
function missingAlternatives(errors: readonly SchemaError[]): string[] | undefined {
  const branches = errors.filter(({ keyword }) => keyword !== 'anyOf')
  const isChoice = branches.length < errors.length && branches.every(({ keyword }) => keyword === 'required')
  return isChoice ? branches.map(({ params }) => String(params.missingProperty)) : undefined
}

/** Where a member may be null or an object, nobody needs to be told of the null. */
const isTelling = ({ keyword, params }: SchemaError): boolean => keyword !== 'anyOf' && params.type !== 'null'

function unknownMember({ keyword, params }: SchemaError): string | undefined {
  if (keyword !== 'additionalProperties') return undefined
  const name = String(params.additionalProperty)
  return PLAIN_NAME.test(name) ? `must not have ${name}` : 'has a member that is not known'
}

/** What the schema says of the member that is wrong. */
function descriptionOf(schema: object | undefined, instancePath: string, missing: unknown): string | undefined {
  const path = [...instancePath.split('/').slice(1), ...(typeof missing === 'string' ? [missing] : [])]
  let at: Described | undefined = schema
  for (const name of path) at = memberOf(at, name)
  return path.length === 0 ? undefined : at?.description
}

function memberOf(schema: Described | undefined, name: string): Described | undefined {
  const choices = [schema, ...(schema?.anyOf ?? [])]
  return choices.map((choice) => choice?.properties?.[name]).find((found) => found !== undefined)
}
