/** The document that the routes gave, made fit to be kept in a file and read by generators of clients. */
import { STATUS_CODES } from 'node:http'
import { REF, type Schema } from './refer.ts'

interface Media {
  schema: Schema & { anyOf?: Schema[] }
  [field: string]: unknown
}

interface Body {
  description?: string
  required?: boolean
  content?: Record<string, Media>
}

type Paths = Record<string, Record<string, { requestBody?: Body; responses: Record<string, Body> }>>

export interface OpenapiDocument {
  paths: Paths
  webhooks?: Paths
  components: { schemas?: Record<string, Schema> }
  [field: string]: unknown
}

/** In an order that does not depend on files and routes. No part is shared, as in what @fastify/swagger gives. */
export function finishDocument(raw: object): OpenapiDocument {
  const { paths, webhooks = {}, components, ...rest }: OpenapiDocument = JSON.parse(JSON.stringify(raw))
  const schemas = sorted(components.schemas ?? {})
  const items = [...Object.values(paths), ...Object.values(webhooks)]
  for (const { requestBody = {}, responses } of items.flatMap((item) => Object.values(item))) {
    takeOptional(requestBody)
    for (const [status, response] of Object.entries(responses))
      if (response.description === 'Default Response') response.description = STATUS_CODES[status] ?? 'Done'
    for (const { content = {} } of [requestBody, ...Object.values(responses)])
      for (const media of Object.values(content)) showExamples(media, schemas)
  }
  return { ...rest, paths: sorted(paths), webhooks, components: { ...components, schemas } }
}

const sorted = <Value>(byName: Record<string, Value>): Record<string, Value> =>
  Object.fromEntries(Object.entries(byName).sort(([a], [b]) => (a < b ? -1 : 1)))

/** A body that may be null is one that may be left out. */
function takeOptional(body: Body): void {
  for (const media of Object.values(body.content ?? {})) {
    const [choice, none] = media.schema.anyOf?.toSorted((_, { type }) => (type === 'null' ? -1 : 1)) ?? []
    if (choice === undefined || none?.type !== 'null') continue
    body.required = false
    media.schema = choice
  }
}

/** Beside a reference stand the examples of what it leads to; @fastify/swagger shows those of a schema that it sees. */
function showExamples(media: Media, schemas: Record<string, Schema>): void {
  const { $ref, examples: own } = media.schema
  const examples = own ?? schemas[String($ref).replace(REF, '')]?.examples
  if (!Array.isArray(examples) || 'example' in media || 'examples' in media) return
  if (examples.length === 1) media.example = examples[0]
  else media.examples = Object.fromEntries(examples.map((value, index) => [`example${index + 1}`, { value }]))
}
