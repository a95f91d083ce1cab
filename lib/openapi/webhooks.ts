/** The events that we post, as webhooks of OpenAPI. */
import { REF, refer, type Schema } from './refer.ts'

/** What is posted, its type among it; the description says when. */
export interface EventSchema {
  $id: string
  description?: string
  properties: { type: { const: string } }
}

const HEADERS = {
  'webhook-id': 'who the event is: the same at every try; deduplicate by it',
  'webhook-timestamp': 'Unix seconds of this try',
  'webhook-signature': '`v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}` (Standard Webhooks)'
}
const parameters = Object.entries(HEADERS).map(([name, description]) => {
  return { in: 'header', name, required: true, description, schema: { type: 'string' } }
})

const responses = {
  '2XX': { description: 'Taken; it is not posted again.' },
  410: { description: 'Not wanted; the event is kept as failed.' },
  default: { description: 'Tried again, with growing pauses, for a little over three days.' }
}

/** By the type of the event. The schemas come into `named`, and Event, which is any of them. */
export function describeWebhooks(events: readonly EventSchema[], named: Schema) {
  const mapping = Object.fromEntries(events.map(({ $id, properties }) => [properties.type.const, REF + $id]))
  refer<object>({ $id: 'Event', oneOf: events, discriminator: { propertyName: 'type', mapping } }, named)
  const items = events.map((schema) => {
    const { $id, description: summary, properties } = schema
    const requestBody = { required: true, content: { 'application/json': { schema: refer<object>(schema, named) } } }
    const post = { operationId: `receive${$id}`, tags: ['events'], summary, parameters, requestBody, responses }
    return [properties.type.const, { post }]
  })
  return Object.fromEntries(items)
}
