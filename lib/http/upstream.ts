/**
 * Calls to one service that has several origins: kept-alive connections, a deadline for every answer, and errors that
 * say whether the service may have acted.
 */
import { Readable } from 'node:stream'
import { errors } from 'undici'
import { ServiceError } from '../errors.ts'
import { Deadline } from '../util/deadline.ts'
import { type Connections, openConnections } from './connections.ts'
import {
  BegunAnswer,
  type BegunIncoming,
  type Exchange,
  type Incoming,
  OpenAnswer,
  type OpenIncoming,
  type Outgoing,
  WholeAnswer
} from './exchange.ts'
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
  deadline: Deadline
  /** The body is so long that it is handed over in pieces. */
  isUpload: boolean
  begin: () => Exchange<Answer>
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
  send(request: Outgoing, attempt = 0): Promise<Incoming> {
    const deadline = new Deadline(this.#timeoutMs, request.isTransfer ? 'silence' : 'whole')
    const isUpload = isLong(request)
    const begin = () => new WholeAnswer(deadline, isUpload)
    return this.#dispatch(request, { attempt, deadline, isUpload, begin })
  }

  /**
   * As `send` of a transfer, for answers of any length: resolves with the head, and the body is read as it comes. No
   * more than `timeoutMs` may pass without a byte that somebody waits for.
   */
  open(request: Outgoing): Promise<OpenIncoming> {
    const deadline = new Deadline(this.#timeoutMs, 'silence')
    const begin = () => new OpenAnswer(deadline)
    return this.#dispatch(request, { attempt: 0, deadline, isUpload: false, begin })
  }

  /**
   * As `send` of a transfer, for answers that are looked into where they are short. One that says that it has more than
   * `heldBytes` is open when so many came, and its body is read as it comes.
   */
  begin(request: Outgoing, heldBytes: number): Promise<BegunIncoming> {
    const deadline = new Deadline(this.#timeoutMs, 'silence')
    const isUpload = isLong(request)
    const begin = () => new BegunAnswer(deadline, isUpload, heldBytes)
    return this.#dispatch(request, { attempt: 0, deadline, isUpload, begin })
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map(({ dispatcher }) => dispatcher.destroy()))
  }

  /** Where it ends in an answer, the answer ends the deadline. */
  async #dispatch<Answer>(request: Outgoing, sending: Sending<Answer>): Promise<Answer> {
    try {
      return await this.#tryOrigins(request, sending)
    } catch (error) {
      sending.deadline.stop()
      throw error
    }
  }

  async #tryOrigins<Answer>(request: Outgoing, { attempt, deadline, isUpload, begin }: Sending<Answer>) {
    const { method, path, body = null } = request
    const length = isUpload && { 'content-length': String(Buffer.byteLength(body ?? '')) }
    const headers = { ...UNCODED, ...request.headers, ...length }
    const count = this.#connections.length
    for (let nth = attempt; ; nth += 1) {
      const { dispatcher, origin, via } = this.#connections[nth % count] as Connections
      const exchange = begin()
      const content = isUpload ? inPieces(Buffer.from(body ?? ''), deadline) : body
      dispatcher.dispatch({ origin, method, path, headers, body: content }, exchange)
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

const isLong = ({ body = '', isTransfer = false }: Outgoing): boolean =>
  isTransfer && Buffer.byteLength(body) > CHUNK_BYTES

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
