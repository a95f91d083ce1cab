/** Requests by hand: bytes that no client library sends, and streams of HTTP/2 that end in wrong ways. */
import { once } from 'node:events'
import { type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { DOMAIN } from './caddy.ts'

/** Where a front listens. */
export interface Address {
  httpPort: number
  httpsPort: number
  rootPem: string
}

export interface WireAnswer {
  /** Of the last answer: 1xx ones come before. None when the connection ended without one. */
  status: number | undefined
  headers: Record<string, string>
  body: string
  /** Whether the other side has closed. */
  closed: boolean
}

/** `FIN` closes only our sending side, as `shutdown(SHUT_WR)` does. A function is awaited. */
export type Step = string | Buffer | 'FIN' | (() => Promise<unknown>)

/** A connection that TLS has verified; it stays open for reading after our own end. */
export async function openTls({ httpsPort, rootPem }: Address): Promise<TLSSocket> {
  const options = { host: '127.0.0.1', port: httpsPort, servername: DOMAIN, ca: rootPem, allowHalfOpen: true }
  const socket = connectTls(options)
  await once(socket, 'secureConnect')
  return socket
}

export async function openPlain({ httpPort }: Address): Promise<Socket> {
  const socket = connectTcp({ host: '127.0.0.1', port: httpPort, allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

/** A connection that is still open then hangs. Only a failing test waits so long, however busy the machine is. */
const PATIENCE_MS = 30_000

/** Takes the steps and collects what is answered, until the other side closes or hangs. */
export async function converse(socket: Socket, steps: Step[]): Promise<WireAnswer> {
  let text = ''
  let closed = false
  socket.setEncoding('latin1').on('data', (data) => {
    text += data
  })
  const ended = new Promise<void>((done) => {
    const end = () => {
      closed = true
      done()
    }
    socket.once('end', end).once('close', end).once('error', end)
    setTimeout(done, PATIENCE_MS).unref()
  })
  for (const step of steps) {
    if (typeof step === 'function') await step()
    else if (step === 'FIN') socket.end()
    else socket.write(step)
  }
  await ended
  socket.destroy()
  return { ...parse(text), closed }
}

function parse(text: string): Omit<WireAnswer, 'closed'> {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1])
  if (status >= 100 && status < 200 && status !== 101) return parse(rest.join('\r\n\r\n'))
  const lines = head.split('\r\n').slice(1)
  const headers = Object.fromEntries(
    lines.map((line) => [line.replace(/:.*/, '').toLowerCase(), line.replace(/.*?: /, '')])
  )
  return { status: status || undefined, headers, body: rest.join('\r\n\r\n') }
}

/** One stream of HTTP/2 that `act` writes to. */
export async function converseHttp2(
  { httpsPort, rootPem }: Address,
  headers: Record<string, string | number>,
  act: (stream: ClientHttp2Stream) => void
): Promise<WireAnswer> {
  const options = { host: '127.0.0.1', port: httpsPort, servername: DOMAIN, ca: rootPem, ALPNProtocols: ['h2'] }
  const session = connectHttp2(`https://${DOMAIN}`, { createConnection: () => connectTls(options) })
  session.on('error', () => undefined)
  const stream = session.request({ ':method': 'POST', ...headers }, { endStream: false })
  const answer: WireAnswer = { status: undefined, headers: {}, body: '', closed: false }
  stream.setEncoding('utf8').on('data', (data) => {
    answer.body += data
  })
  stream
    .on('error', () => undefined)
    .on('response', ({ ':status': status, ...rest }) => {
      answer.status = status
      answer.headers = rest as Record<string, string>
    })
  const ended = new Promise<void>((done) => {
    const end = () => {
      answer.closed = true
      done()
    }
    stream.once('end', end).once('close', end)
    setTimeout(done, PATIENCE_MS).unref()
  })
  act(stream)
  await ended
  session.destroy()
  return answer
}
