/** What the tests of callbacks send over connections of their own: too much, and while the server closes. */
import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'

/** More than an endpoint reads. */
const TOO_MUCH = Buffer.alloc(1024 * 1024 + 1, 'x')

export interface WireAnswer {
  status: number | undefined
  type: string | undefined
  connection: string | undefined
  body: string
}

const portOf = ({ server }: FastifyInstance) => (server.address() as AddressInfo).port

/** More than 1 MiB for `path` of a listening `app`, once announced and once in chunks. */
export async function postTooMuch(app: FastifyInstance, path: string): Promise<WireAnswer[]> {
  const forms = [{ 'content-length': TOO_MUCH.length }, { 'transfer-encoding': 'chunked' }]
  return Promise.all(
    forms.map(async (headers) => {
      const request = send({ port: portOf(app), method: 'POST', path, headers })
      request.on('error', () => undefined)
      request.end(TOO_MUCH)
      const [answer] = (await once(request, 'response')) as [IncomingMessage]
      const { 'content-type': type, connection } = answer.headers
      return { status: answer.statusCode, type, connection, body: await text(answer) }
    })
  )
}

/** A message of WeChat's as it goes over the wire. */
export interface Message {
  headers?: Record<string, string>
  body: string
}

export interface ClosingDoor {
  /** To be hooked in before the service is. */
  prepare(app: FastifyInstance): void
  /** Begins to close when a part of the first message is there, sends the rest, and answers all that came back. */
  send(app: FastifyInstance, path: string, messages: readonly [Message, Message]): Promise<string>
}

export function closingDoor(): ClosingDoor {
  const routed = Promise.withResolvers<void>()
  const closing = Promise.withResolvers<void>()

  return {
    prepare(app) {
      app.addHook('onRequest', async ({ url }) => {
        if (url.startsWith('/wechat/')) routed.resolve()
      })
      app.addHook('preClose', async () => closing.resolve())
    },
    async send(app, path, [first, second]) {
      const socket = connect(portOf(app))
      socket.write(headOf(path, first) + first.body.slice(0, 10))
      await routed.promise
      const closed = app.close()
      await closing.promise
      socket.write(first.body.slice(10) + headOf(path, second) + second.body)
      const answer = await text(socket)
      await closed
      return answer
    }
  }
}

function headOf(path: string, { headers = {}, body }: Message): string {
  const all = { host: 'x', ...headers, 'content-length': Buffer.byteLength(body) }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}
