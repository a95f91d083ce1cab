/** One route as OpenAPI describes it: its schemas, who may call it, and every refusal that it may answer. */
import { STATUS_CODES } from 'node:http'
import type { ErrorCode } from '../errors.ts'
import { INSIDE } from './about.ts'
import { describeRefusals, type Refusal, refusalOf, refusalsOfFastify } from './refusals.ts'
import type { Schema } from './schemas.ts'

export interface DocumentedRoute {
  /** As Fastify has it, such as `/internal/apps/:appid/wechat/*`. */
  url: string
  /**
   * What may be said of a route; `x-body` describes a body that is read raw, `x-codes` of an answer the codes it stands
   * for.
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

/** What opens a door, by its guard. A guard that is not here needs nothing that a client could send along. */
const KEYS: Readonly<Record<string, (keyScopes: readonly string[]) => object[]>> = {
  session: () => [{ sessionToken: [] }],
  'session-keys': () => [{ sessionToken: [] }],
  internal: (keyScopes) => keyScopes.map((keyScope) => ({ apiKey: [keyScope] }))
}

/** Scopes of routes that Caddy does not let through. */
const INNER = ['internal', 'operation']

/**
 * The route for @fastify/swagger: its schema with all that a reader needs beside what Fastify needs, and its URL in one
 * spelling.
 */
export function describeRoute(route: DocumentedRoute): { schema: Schema; url: string } {
  const { 'x-body': raw, params, ...schema } = route.schema
  return {
    url: route.url.replace(/(?<=.)\/$/, '').replace(/\*$/, ':path'),
    schema: {
      ...schema,
      security: KEYS[route.guard]?.(route.keyScopes) ?? [],
      ...(INNER.includes(route.scope) && { servers: [INSIDE] }),
      ...(raw !== undefined && { body: raw }),
      ...(params !== undefined && { params: nameRest(params as Schema) }),
      response: describeAnswers(route)
    }
  }
}

/** The rest of a path has no name in Fastify, but needs one here. */
function nameRest(params: Schema): Schema {
  const named = Object.entries((params.properties ?? {}) as Schema)
  const properties = Object.fromEntries(named.map(([name, schema]) => [name === '*' ? 'path' : name, schema]))
  return { ...params, properties }
}

const REFUSED_BY_GUARD: Readonly<Record<string, readonly ErrorCode[]>> = {
  session: ['TOKEN_MISSING', 'TOKEN_INVALID', 'TOKEN_EXPIRED', 'SESSION_REVOKED'],
  'session-keys': ['TOKEN_MISSING', 'TOKEN_INVALID', 'TOKEN_EXPIRED', 'SESSION_REVOKED'],
  internal: ['TOKEN_MISSING', 'TOKEN_INVALID', 'KEY_SCOPE']
}

interface Answer extends Schema {
  'x-codes'?: readonly ErrorCode[]
}

/**
 * Answers that name codes become one for each status with all of its codes; 4xx and 5xx become the one for anything
 * else.
 */
function describeAnswers(route: DocumentedRoute): Record<string, Schema> {
  const { '4xx': other, '5xx': _, ...named } = (route.schema.response ?? {}) as Record<string, Answer>
  const described = Object.entries(named).filter(([, answer]) => answer['x-codes'] === undefined)
  const answers = Object.fromEntries(described.map(([status, answer]) => [status, withDescription(status, answer)]))
  if (other === undefined) return answers
  const { 'x-codes': codes, ...shape } = other
  if (shape.type !== 'object') return { ...answers, default: shape }
  const rest = {
    description: 'Any other refusal has this form too.',
    content: { 'application/json': { schema: shape } }
  }
  const declared = Object.values(named).flatMap((answer) => answer['x-codes'] ?? [])
  const refusals = refusalsOf(route, [...declared, ...(codes === undefined ? [] : anywhere(route.scope))])
  return { ...answers, ...describeRefusals(refusals, shape), default: rest }
}

/** Nobody is safe from these; who is asked how things stand answers under load too. */
const anywhere = (scope: string): ErrorCode[] => (scope === 'operation' ? ['INTERNAL'] : ['INTERNAL', 'OVERLOADED'])

/** Those that the route names, those of its guard and limit, and those of Fastify. */
function refusalsOf({ schema, guard, limited }: DocumentedRoute, named: readonly ErrorCode[]): Refusal[] {
  const ofLimit = limited ? (['RATE_LIMITED'] as const) : []
  const codes = new Set<ErrorCode>([...(REFUSED_BY_GUARD[guard] ?? []), ...named, ...ofLimit])
  const side = (schema.tags as string[] | undefined)?.includes('payments') ? 'pay' : 'platform'
  return [...refusalsOfFastify(schema), ...[...codes].map((code) => refusalOf(code, side))]
}

const withDescription = (status: string, answer: Schema): Schema => ({
  'x-response-description': answer.description ?? STATUS_CODES[status] ?? 'Done',
  ...answer
})
