/**
 * A stand-in for the merchant's own backend. It receives the gateway's events, verifies them as any merchant would, and
 * keeps them.
 */
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import Fastify, { type FastifyInstance } from 'fastify'
import { Webhook } from 'standardwebhooks'
import { type BackendEvent, Inbox } from './inbox.ts'

export type { BackendEvent } from './inbox.ts'

export interface BackendOptions {
  /** Default 127.0.0.1. */
  host?: string
  /** Default 0: any free one. */
  port?: number
  /** `whsec_…` */
  secret: string
}

export interface Backend {
  readonly origin: string
  /** For WEBHOOK_URL. */
  readonly webhookUrl: string
  /** In the order of their first try. */
  events(type?: string): BackendEvent[]
  clearEvents(): void
  /** The next `times` authentic events get this status; 0: all from now on. Replaces what was set before. */
  respond(status: number, times?: number): void
  /** How many requests were refused for their signature. */
  refusedCount(): number
  /**
   * The first event that matches, now or later. It is checked again at every try. Rejects after `timeoutMs`, and on
   * close.
   */
  waitFor(predicate: (event: BackendEvent) => boolean, timeoutMs?: number): Promise<BackendEvent>
  close(): Promise<void>
}

const Message = Type.Object({
  type: Type.String(),
  timestamp: Type.String(),
  data: Type.Record(Type.String(), Type.Unknown())
})

const Response = Type.Object(
  { status: Type.Integer({ minimum: 200, maximum: 599 }), times: Type.Optional(Type.Integer({ minimum: 0 })) },
  { additionalProperties: false }
)

/** What the raw bytes say once signature and time hold; undefined where they do not. */
function verify(webhook: Webhook, body: unknown, headers: Record<string, unknown>): unknown {
  try {
    const texts = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
    return webhook.verify(Buffer.isBuffer(body) ? body : '', texts)
  } catch {
    return undefined
  }
}

async function webhookRoutes(app: FastifyInstance, { inbox, secret }: { inbox: Inbox; secret: string }): Promise<void> {
  const webhook = new Webhook(secret)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.post('/webhooks', async (request, reply) => {
    const message = verify(webhook, request.body, request.headers)
    if (message === undefined) {
      inbox.refused += 1
      return reply.code(401).send({ error: 'the signature does not hold' })
    }
    if (!Value.Check(Message, message))
      return reply.code(422).send({ error: 'authentic, but not {type, timestamp, data}' })
    return reply.code(inbox.receive(String(request.headers['webhook-id']), message)).send()
  })
}

async function controlRoutes(app: FastifyInstance, { inbox }: { inbox: Inbox }): Promise<void> {
  app.get<{ Querystring: { type?: string } }>('/events', async (request) => inbox.list(request.query.type))
  app.delete('/events', async () => {
    inbox.clear()
    return { cleared: true }
  })
  app.post('/respond', { schema: { body: Response } }, async (request) => {
    const { status, times } = request.body as Static<typeof Response>
    inbox.respond(status, times)
    return { status, times: times ?? 1 }
  })
}

/** Resolves once it listens. Throws what standardwebhooks says of a malformed secret, and what listen() throws. */
export async function startBackend({ host = '127.0.0.1', port = 0, secret }: BackendOptions): Promise<Backend> {
  const inbox = new Inbox()
  const app = Fastify({
    logger: false,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } }
  })
  app.register(webhookRoutes, { inbox, secret })
  app.register(controlRoutes, { inbox })
  app.addHook('onClose', async () => inbox.close())
  const origin = await app.listen({ host, port })
  return {
    origin,
    webhookUrl: `${origin}/webhooks`,
    events: (type) => inbox.list(type),
    clearEvents: () => inbox.clear(),
    respond: (status, times) => inbox.respond(status, times),
    refusedCount: () => inbox.refused,
    waitFor: (predicate, timeoutMs = 5000) => inbox.waitFor(predicate, timeoutMs),
    close: () => app.close()
  }
}
