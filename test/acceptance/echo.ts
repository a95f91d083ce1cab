/** A stand-in for wxgate behind Caddy or nginx. It answers what reached it, and remembers every URL. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'

/** The answer's body. Every answer has the header `x-echo` too. */
export interface Echo {
  method: string
  url: string
  ip: string
  protocol: string
  host: string
  headers: IncomingHttpHeaders
  sha256: string
}

export interface EchoServer {
  app: FastifyInstance
  seen: string[]
  /** `host:port` */
  address: string
}

export interface EchoOptions {
  port?: number
  /** A request that is not complete by then is answered 408. 0: never. */
  requestTimeoutMs?: number
}

export async function startEcho(t: Test, { port = 0, requestTimeoutMs = 0 }: EchoOptions = {}): Promise<EchoServer> {
  const app = Fastify({
    trustProxy: 'loopback',
    bodyLimit: 8 << 20,
    forceCloseConnections: true,
    requestTimeout: requestTimeoutMs,
    http: { connectionsCheckingInterval: 100, headersTimeout: requestTimeoutMs }
  })
  const seen: string[] = []
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request: FastifyRequest, body: Buffer) => body)
  app.get('/readyz', async () => 'ready')
  app.all('/*', async function echo(request: FastifyRequest, reply: FastifyReply): Promise<Echo> {
    seen.push(request.url)
    reply.headers({ 'x-echo': 'yes', 'content-type': 'application/json' })
    const { method, url, ip, protocol, host, headers } = request
    const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    return { method, url, ip, protocol, host, headers, sha256: sha256(bytes) }
  })
  await app.listen({ host: '127.0.0.1', port })
  t.teardown(() => app.close())
  return { app, seen, address: addressOf(app.server) }
}

export function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function addressOf(server: Server): string {
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
