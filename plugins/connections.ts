/** What Node.js would refuse or break off by itself, in the shape of every other refusal. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { type ErrorCode, ServiceError } from '../lib/errors.ts'
import { problemOf } from './errors.ts'

/** What the parser and the timers of node:http call what they refuse; anything else is no HTTP. */
const CODES: Record<string, ErrorCode> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
  HPE_HEADER_OVERFLOW: 'REQUEST_HEADER_FIELDS_TOO_LARGE',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'PAYLOAD_TOO_LARGE'
}

/** For the client to read the answer: a connection that is closed over unread bytes is reset, the answer with it. */
const LINGER_MS = 1000

/** How long a request that is coming may take when we stop. With all else of a stop: below SHUTDOWN_MS (server.ts). */
const LAST_REQUESTS_MS = 6000
const SWEEP_MS = 500

declare module 'fastify' {
  interface FastifyInstance {
    /** Answers what is no request, and ends its connection. `cause` is Node's name of what was wrong. */
    refuseConnection(cause: string | undefined, socket: Socket): void
  }
}

interface Exchange {
  request: IncomingMessage
  response: ServerResponse
}

/** The latest request of each connection, while its answer is not whole. */
class LatestExchanges {
  /** One object for each connection, since a new entry for each request would cost the garbage collector. */
  readonly #bySocket = new WeakMap<Socket, { exchange: Exchange | undefined }>()

  begin(request: IncomingMessage, response: ServerResponse): void {
    const exchange = { request, response }
    const connection = this.#bySocket.get(request.socket)
    if (connection === undefined) this.#bySocket.set(request.socket, { exchange })
    else connection.exchange = exchange
  }

  /** Its answer has left. A request that did not come whole is kept: what still comes of it is no new one. */
  end(request: IncomingMessage): void {
    const connection = this.#bySocket.get(request.socket)
    if (request.complete && connection?.exchange?.request === request) connection.exchange = undefined
  }

  get(socket: Socket): Exchange | undefined {
    return this.#bySocket.get(socket)?.exchange
  }
}

/** Whether its request came whole, or stands behind others that did, and its answer has not left. */
const isAwaited = ({ request, response }: Exchange): boolean =>
  !response.writableFinished && (request.complete || response.socket === null)

/** For Fastify, which calls it on the service. */
export function refuseUnread(this: unknown, { code }: { code?: string }, socket: Socket): void {
  const app = this as FastifyInstance
  app.refuseConnection(code, socket)
}

export default fp(
  async (app: FastifyInstance) => {
    const { server, log, meters } = app
    const latest = new LatestExchanges()
    server.on('request', (request, response) => latest.begin(request, response))
    app.addHook('onResponse', function forget({ raw }, _reply, done) {
      latest.end(raw)
      done()
    })

    function refuse(error: ServiceError, socket: Socket, cause?: string): void {
      if (!socket.writable) return
      const id = randomUUID()
      const { statusCode: status, code } = error
      log.info({ reqId: id, route: '(none)', status, code, cause }, 'request')
      meters.request('', undefined, status, 0)
      meters.refusal(code)
      endWith(socket, status, problemOf(error, id))
    }

    /** Answers leave in the order of their requests: what is refused comes behind those that still wait for theirs. */
    function refuseInTurn(error: ServiceError, socket: Socket, cause?: string): void {
      const { request, response } = latest.get(socket) ?? {}
      if (request === undefined || response === undefined) refuse(error, socket, cause)
      else if (request.complete) whenAnswered(response, () => refuse(error, socket, cause))
      // The body of the latest request is wrong. Where that is answered, or others wait before it, nothing fits.
      else if (response.headersSent || response.socket === null) socket.destroy()
      else refuse(error, socket, cause)
    }

    app.decorate('refuseConnection', (cause, socket) => {
      if (socket.writableEnded) return
      if (cause === 'ECONNRESET' || !socket.writable) socket.destroy()
      else refuseInTurn(new ServiceError(CODES[cause ?? ''] ?? 'BAD_REQUEST'), socket, cause)
    })

    // No method of ours, and Node.js would answer it nothing.
    server.on('connect', (_request, socket: Socket) => {
      socket.on('error', () => undefined)
      refuseInTurn(new ServiceError('NOT_FOUND'), socket)
    })
    endUnfinishedAtStop(app, latest, refuseInTurn)

    // A client that expects something unknown gets the normal answer, as RFC 9110 allows.
    server.on('checkExpectation', (request, response) => void server.emit('request', request, response))

    app.addHook('onRequest', function requireHost({ raw }, _reply, done) {
      const isMissing = raw.headers.host === undefined && raw.httpVersion === '1.1'
      done(
        isMissing ? new ServiceError('BAD_REQUEST', { message: 'HTTP/1.1 needs a Host header; send one' }) : undefined
      )
    })
  },
  { name: 'connections', dependencies: ['errors', 'headers', 'meters', 'request-log'], fastify: '5.x' }
)

/**
 * Node.js ends idle connections at a stop, but takes one for busy on which nothing came yet, or a part of a request.
 * After a while those are refused: whoever says nothing, or drips, would keep the process until it is killed.
 */
function endUnfinishedAtStop(
  app: FastifyInstance,
  latest: LatestExchanges,
  refuse: (error: ServiceError, socket: Socket, cause: string) => void
): void {
  const open = new Set<Socket>()
  app.server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })

  function sweep(): void {
    const message = 'This instance is stopping, and the request did not come whole in time; send it again, at once'
    for (const socket of open) {
      const exchange = latest.get(socket)
      if (exchange === undefined || !isAwaited(exchange))
        refuse(new ServiceError('REQUEST_TIMEOUT', { message }), socket, 'stopping')
    }
  }

  let timer: NodeJS.Timeout | undefined
  app.addHook('preClose', async () => {
    timer = setTimeout(() => {
      sweep()
      timer = setInterval(sweep, SWEEP_MS)
    }, LAST_REQUESTS_MS)
  })
  app.addHook('onClose', async () => clearTimeout(timer))
}

function whenAnswered(response: ServerResponse, go: () => void): void {
  if (response.writableFinished) go()
  else response.once('close', go)
}

function endWith(socket: Socket, status: number, body: { error: string; requestId: string }): void {
  const text = JSON.stringify(body)
  const lines = [
    `HTTP/1.1 ${status} ${body.error}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    'cache-control: no-store',
    `x-request-id: ${body.requestId}`,
    'connection: close'
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
  const linger = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(linger))
}
