/**
 * Calls to one service that has several origins: kept-alive connections, a deadline for every answer, and errors that
 * say whether the service may have acted.
 */
import { Readable } from 'node:stream'
import { errors } from 'undici'
import { ServiceError } from '../errors.ts'
import { Deadline } from '../util/deadline.ts'
import { type Connections, openConnections } from './connections.ts'
import { type Exchange, type Incoming, OpenAnswer, type OpenIncoming, type Outgoing, WholeAnswer } from './exchange.ts'
import { type ProxySettings, proxyVerdict } from './proxy.ts'

export interface UpstreamOptions {
  /** In the order in which they are tried. */
  origins: readonly string[]
  /**
   * From the first attempt to connect until the last byte of the answer; of a transfer the longest time without
   * movement.
   */
  timeoutMs: number
  connectionsPerOrigin?: number
  /** Our certificate and its private key (PEM), where the server asks who we are. */
  connect?: { cert: string; key: string }
  proxy?: ProxySettings | undefined
}

/** How one request is sent. */
interface Sending<Answer> {
  /** From 0; the place of the first origin to try. */
  attempt: number
  begin: () => Exchange<Answer>
  /** The body in pieces, where it is long. */
  pieces: (() => Readable) | undefined
  /** Longest pause between two pieces of the answer (ms); 0: any. */
  bodyTimeout: number
}

/** Answers are looked into, and passed on as they come. */
const UNCODED = { 'accept-encoding': 'identity' }

/** What a connection takes at once; a longer body of a transfer is handed over in pieces of this size. */
const CHUNK_BYTES = 64 * 1024

export class Upstream {
  readonly #connections: readonly Connections[]
  readonly #timeoutMs: number

  constructor({ origins, timeoutMs, connectionsPerOrigin = 64, connect, proxy }: UpstreamOptions) {
    // An address that swallows packets must leave time for the next one, and for the answer.
    const connectTimeoutMs = Math.ceil(timeoutMs / (origins.length + 2))
    const options = { connectTimeoutMs, connections: connectionsPerOrigin, proxy, identity: connect }
    this.#connections = origins.map((origin) => openConnections(origin, options))
    this.#timeoutMs = timeoutMs
  }

  /**
   * Sends one request. While no connection can be made the next origin is tried, at last the first once more; nothing
   * that was sent is ever sent twice. `attempt`, from 0, for a repetition by the caller: each begins at the next
   * origin. Throws WECHAT_UNREACHABLE, WECHAT_TIMEOUT, WECHAT_BAD_RESPONSE (no HTTP, or too large).
   */
  async send(request: Outgoing, attempt = 0): Promise<Incoming> {
    const { body = '', isTransfer = false } = request
    const deadline = new Deadline(this.#timeoutMs, isTransfer ? 'silence' : 'whole')
    const isUpload = isTransfer && Buffer.byteLength(body) > CHUNK_BYTES
    const begin = () => new WholeAnswer(deadline, isUpload)
    const pieces = isUpload ? () => inPieces(Buffer.from(body), deadline) : undefined
    try {
      return await this.#dispatch(request, { attempt, begin, pieces, bodyTimeout: 0 })
    } finally {
      deadline.stop()
    }
  }

  /**
   * As `send`, for answers of any length: resolves with the head, and the body is read as it comes. The deadline is
   * that of the head; after it no more than `timeoutMs` may pass without a byte that somebody waits for.
   */
  async open(request: Outgoing): Promise<OpenIncoming> {
    const deadline = new Deadline(this.#timeoutMs)
    const begin = () => new OpenAnswer(deadline)
    try {
      return await this.#dispatch(request, { attempt: 0, begin, pieces: undefined, bodyTimeout: this.#timeoutMs })
    } finally {
      deadline.stop()
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map(({ dispatcher }) => dispatcher.destroy()))
  }

  async #dispatch<Answer>(request: Outgoing, { attempt, begin, pieces, bodyTimeout }: Sending<Answer>) {
    const { method, path, body = null } = request
    const length = pieces && { 'content-length': String(Buffer.byteLength(body ?? '')) }
    const headers = { ...UNCODED, ...request.headers, ...length }
    const count = this.#connections.length
    for (let nth = attempt; ; nth += 1) {
      const { dispatcher, origin, via } = this.#connections[nth % count] as Connections
      const exchange = begin()
      dispatcher.dispatch({ origin, method, path, headers, body: pieces?.() ?? body, bodyTimeout }, exchange)
      try {
        return await exchange.answer
      } catch (error) {
        if (error instanceof ServiceError) throw error
        if (error instanceof errors.HTTPParserError) throw new ServiceError('WECHAT_BAD_RESPONSE', { cause: error })
        const isLast = nth === attempt + count
        if (exchange.sent || isLast)
          throw new ServiceError('WECHAT_UNREACHABLE', { cause: error, detail: throughProxy(via, error) })
      }
    }
  }
}

/** The next piece is asked for when the connection took the one before. */
const inPieces = (body: Buffer, deadline: Deadline): Readable =>
  Readable.from(piecesOf(body, deadline), { objectMode: false, highWaterMark: CHUNK_BYTES })

function* piecesOf(body: Buffer, deadline: Deadline): Generator<Buffer> {
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    deadline.moved()
    yield body.subarray(at, at + CHUNK_BYTES)
  }
  deadline.moved()
}

/** For the log: an operator looks at the proxy first. */
function throughProxy(via: string | undefined, error: unknown): string | undefined {
  if (via === undefined) return undefined
  const verdict = error instanceof Error ? proxyVerdict(error) : undefined
  return `through the proxy ${via}${verdict === undefined ? '' : `, which answered ${verdict}`}`
}
