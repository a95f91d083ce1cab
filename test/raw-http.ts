/** HTTP as bytes over a connection of its own, for what no client library would send. */
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Much longer than an answer takes, and shorter than the time-outs of the service. */
const PATIENCE_MS = 15_000

export interface RawAnswer {
  status: number
  /** By lower-case name. */
  headers: Record<string, string>
  body: string
}

/** Has `app` listen on a free port of this machine, and answers that port. */
export async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/**
 * A connection that gathers what comes back; `answers` ends with the connection, and throws when nothing comes for
 * long.
 */
export class RawConnection {
  readonly socket: Socket
  #received = ''
  #ended: Promise<unknown>

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.setEncoding('latin1').on('data', (chunk) => {
      this.#received += chunk
    })
    // A connection that is reset has ended too: what came before counts. `once` of node:events would reject then.
    this.socket.on('error', () => undefined).on('end', () => this.socket.end())
    this.#ended = new Promise((done) => void this.socket.once('close', done))
  }

  send(bytes: string | Buffer): this {
    this.socket.write(bytes)
    return this
  }

  get received(): string {
    return this.#received
  }

  async answers(patienceMs = PATIENCE_MS): Promise<RawAnswer[]> {
    const deadline = new AbortController()
    const late = pause(patienceMs, 'late', { signal: deadline.signal }).catch(() => undefined)
    const first = await Promise.race([this.#ended, late])
    deadline.abort()
    this.socket.destroy()
    if (first === 'late') throw new Error(`no end of the connection within ${patienceMs} ms: ${this.#received}`)
    return parse(this.#received)
  }
}

/** All answers to `bytes`, sent over one connection that the last request, or the service, ends. */
export const exchange = (port: number, bytes: string | Buffer): Promise<RawAnswer[]> =>
  new RawConnection(port).send(bytes).answers()

/** A request's head: lines as they are, with the line ends of HTTP. */
export const head = (...lines: string[]): string => [...lines, '', ''].join('\r\n')

function parse(text: string): RawAnswer[] {
  const answers: RawAnswer[] = []
  let rest = text
  while (rest !== '') {
    const at = rest.indexOf('\r\n\r\n')
    const [status = '', ...lines] = rest.slice(0, at).split('\r\n')
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])
    )
    const length = Number(headers['content-length'] ?? 0)
    answers.push({ status: Number(status.split(' ')[1]), headers, body: rest.slice(at + 4, at + 4 + length) })
    rest = rest.slice(at + 4 + length)
  }
  return answers
}
