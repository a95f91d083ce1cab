/** One route as OpenAPI describes it: its schemas, who may call it, and every refusal that it may answer. */
import { INSIDE } from './about.ts'
import { refer, type Schema } from './refer.ts'
import { codesOfFastify, describeRefusals, type RefusalCode } from './refusals.ts'

export interface DocumentedRoute {
  /** As Fastify has it, such as `/internal/apps/:appid/wechat/*`. */
  url: string
  /**
   * `x-body` describes a body that is read raw; `x-codes` of the answer for 4xx are the codes to expect;
   * `x-shown` of any part is what the document shows instead.
   */
  schema: Schema
  /** `config.auth`. */
  guard: string
  /** `config.scope`. */
  scope: string
  /** Of an API key: any of these opens the route. */
  keyScopes: readonly string[]
  /** Whether its calls are counted for one client. */
  limited: boolean
}

/** What opens a route, by its guard. A guard that is not here needs nothing that a client could send along. */
const KEYS: Readonly<Record<string, (keyScopes: readonly string[]) => object[]>> = {
  session: () => [{ sessionToken: [] }],
  'session-keys': () => [{ sessionToken: [] }],
  internal: (keyScopes) => keyScopes.map((keyScope) => ({ apiKey: [keyScope] }))
}

/** Scopes of routes that Caddy does not let through. */
const INNER = ['internal', 'operation']

/**
 * The route for @fastify/swagger: its schema with all that a reader needs beside what Fastify needs, and its URL in one
 * spelling. The rest of a path has no name in Fastify, but needs one here. Named schemas come into `named`.
 */
export function describeRoute(route: DocumentedRoute, named: Schema): { schema: Schema; url: string } {
  const { 'x-body': raw, body = raw, params, response, ...schema } = refer(route.schema, named)
  const described = {
    ...schema,
    body,
    params: params && JSON.parse(JSON.stringify(params).replaceAll('"*"', '"path"')),
    security: KEYS[route.guard]?.(route.keyScopes) ?? [],
    servers: INNER.includes(route.scope) ? [INSIDE] : undefined,
    response: describeAnswers(route, response as Answers)
  }
  return { schema: described, url: route.url.replace(/(?<=.)\/$/, '').replace(/\*$/, ':path') }
}

type Answers = Record<string, Schema>

/** Refusals become one answer for each status with all of its codes, and one for anything else. */
function describeAnswers({ schema, scope, limited }: DocumentedRoute, answers: Answers): Answers {
  const { '4xx': shape = {}, '5xx': _, ...given } = answers
  const declared = (schema.response as Answers)['4xx']?.['x-codes'] as RefusalCode[] | undefined
  if (declared === undefined) return { ...given, default: shape }
  const codes = [...codesOfFastify(schema), ...declared]
  // Nobody is safe from these; who is asked how things stand answers under load too.
  codes.push('INTERNAL', ...(scope === 'operation' ? [] : (['OVERLOADED'] as const)))
  if (limited) codes.push('RATE_LIMITED')
  const isOfPay = (schema.tags as string[]).includes('payments')
  const content = { 'application/json': { schema: shape } }
  const others = { description: 'Any other refusal has this form too.', content }
  return { ...given, ...describeRefusals(codes, isOfPay, shape), default: others }
}
