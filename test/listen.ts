/** Plain servers for a test: something for the gateway to call that behaves as the test says. */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import {
  type AddressInfo,
  createServer as createRawServer,
  type Server as RawServer,
  type ServerOpts,
  type Socket
} from 'node:net'
import type { Test } from 'tap'

/** Has a server listen on a free port of this machine. The server and its connections end with the test. */
export async function listen(t: Pick<Test, 'teardown'>, server: RawServer): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** The same for one that is made here. */
export async function listenFor(t: Test, onRequest: RequestListener): Promise<{ server: Server; origin: string }> {
  const server = createServer(onRequest)
  return { server, origin: `http://127.0.0.1:${await listen(t, server)}` }
}

/** The same for bytes. `sockets` has every connection so far; errors of them are ignored. */
export async function listenRaw(
  t: Pick<Test, 'teardown'>,
  onSocket: (socket: Socket) => unknown = () => undefined,
  options: ServerOpts = {}
): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createRawServer(options, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  return { port: await listen(t, server), sockets }
}

/** Joins two connections: when one is closed, the other is closed too. Errors of both are ignored. */
export function closeTogether(one: Socket, other: Socket): void {
  one.on('error', () => undefined).on('close', () => other.destroy())
  other.on('error', () => undefined).on('close', () => one.destroy())
}
