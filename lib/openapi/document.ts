/** The document that the routes gave, made fit to be kept in a file: one order, one name for each operation and shape. */
import { isDeepStrictEqual } from 'node:util'
import { collectShapes, type Schema, type Shapes } from './schemas.ts'

interface Media {
  schema: Schema
  examples?: Record<string, unknown>
  [field: string]: unknown
}

type Content = Record<string, Media>

interface Body {
  required: boolean
  content: Content
  description?: string
}

interface Operation {
  requestBody?: Body
  responses: Record<string, { content?: Content; [field: string]: unknown }>
  [field: string]: unknown
}

export interface OpenapiDocument {
  paths: Record<string, Record<string, Operation>>
  components: { [kind: string]: unknown }
  [field: string]: unknown
}

/** What is in the document once, and referred to elsewhere. */
interface Kept {
  shapes: Shapes
  bodies: Examples
}

interface Examples {
  refer(content: Content): Content
  named(): Record<string, unknown>
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'options', 'trace']

/** Sorted by path and method, so that the order of files and routes does not matter. HEAD is left out: it is GET without a body. */
export function finishDocument(raw: object): OpenapiDocument {
  // What @fastify/swagger gives shares parts, and carries TypeBox's symbols.
  const { components, paths, ...rest }: OpenapiDocument = JSON.parse(JSON.stringify(raw))
  const shapes = collectShapes()
  const bodies = collectExamples()
  const sorted = Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))
  const finished = sorted.map(([path, item]) => [path, finishPath(item, { shapes, bodies })])
  return {
    ...rest,
    components: { ...components, examples: bodies.named(), schemas: shapes.named() },
    paths: Object.fromEntries(finished)
  }
}

function finishPath(item: Record<string, Operation>, kept: Kept): Record<string, Operation> {
  const served = METHODS.filter((method) => item[method] !== undefined)
  const operations = served.map((method) => [method, finishOperation(item[method] as Operation, kept)])
  return Object.fromEntries(operations)
}

function finishOperation({ requestBody, responses, ...operation }: Operation, { shapes, bodies }: Kept): Operation {
  const answers = Object.entries(responses).map(([status, { content, ...response }]) => [
    status,
    { ...response, ...(content && { content: bodies.refer(mapContent(content, shapes.refer)) }) }
  ])
  return {
    ...operation,
    ...(requestBody && { requestBody: finishBody(requestBody, shapes) }),
    responses: Object.fromEntries(answers)
  }
}

const isNull = (schema: Schema) => schema.type === 'null'

/** A body that may be null is one that may be left out. */
function finishBody(body: Body, shapes: Shapes): Body {
  const optional = Object.values(body.content).some(({ schema }) => choices(schema).some(isNull))
  return {
    ...body,
    required: !optional,
    content: mapContent(body.content, (schema) => shapes.refer(withoutNull(schema)))
  }
}

const choices = ({ anyOf }: Schema): Schema[] => (Array.isArray(anyOf) ? anyOf : [])

function withoutNull(schema: Schema): Schema {
  const left = choices(schema).filter((choice) => !isNull(choice))
  const { anyOf: _, ...rest } = schema
  return left.length === 1 ? { ...rest, ...left[0] } : schema
}

const mapContent = (content: Content, change: (schema: Schema) => Schema): Content =>
  Object.fromEntries(Object.entries(content).map(([type, media]) => [type, mapMedia(media, change)]))

/** A single example of the whole stands beside its schema, as @fastify/swagger does it where it sees one. */
function mapMedia({ schema, ...media }: Media, change: (schema: Schema) => Schema): Media {
  const { examples, ...bare } = change(schema)
  const [example, ...more] = Array.isArray(examples) ? examples : []
  if (example === undefined || more.length > 0) return { schema: change(schema), ...media }
  return { schema: bare, example, ...media }
}

/** The first example of a name is kept; wherever the same is shown, it is referred to. */
function collectExamples(): Examples {
  const found = new Map<string, unknown>()

  function keep(name: string, example: unknown): unknown {
    const first = found.get(name) ?? example
    found.set(name, first)
    return isDeepStrictEqual(first, example) ? { $ref: `#/components/examples/${name}` } : example
  }

  function referMedia({ examples, ...media }: Media): Media {
    const named = Object.entries(examples ?? {}).map(([name, example]) => [
      name,
      isCode(name) ? keep(name, example) : example
    ])
    return { ...media, ...(examples !== undefined && { examples: Object.fromEntries(named) }) }
  }

  return {
    refer: (content) => Object.fromEntries(Object.entries(content).map(([type, media]) => [type, referMedia(media)])),
    named: () => Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}

const isCode = (name: string): boolean => /^[A-Z0-9_]+$/.test(name)
