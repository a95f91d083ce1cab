/**
 * Calls to WeChat's servers: kept-alive connections, a deadline for every answer, and errors that say whether WeChat
 * may have acted.
 */
import { Readable } from 'node:stream'
import { errors } from 'undici'
import { ServiceError } from '../errors.ts'
import { type Connections, openConnections } from '../http/connections.ts'
import { Deadline } from '../http/deadline.ts'
import { type ProxySettings, proxyVerdict } from '../http/proxy.ts'
import { type Exchange, type Incoming, type Outgoing, WholeAnswer } from './exchange.ts'
import { OpenAnswer, type OpenIncoming } from './open-answer.ts'

export type { Incoming, Outgoing } from './exchange.ts'
export type { OpenIncoming } from './open-answer.ts'

export interface Upstream {
  /**
   * Sends one request. While no connection could be made the next origin is tried, at last the first once more; nothing
   * that was sent is ever sent twice. `attempt`, from 0, for a repetition by the caller: each begins at the next
   * origin. Throws WECHAT_UNREACHABLE, WECHAT_TIMEOUT, WECHAT_BAD_RESPONSE (no HTTP, or too large).
   */
  send(request: Outgoing, attempt?: number): Promise<Incoming>
  /**
   * As `send`, for answers of any length: resolves with the head, and the body is read as it comes. The deadline is
   * that of the head; after it no more than `timeoutMs` may pass without a byte that somebody waits for.
   */
  open(request: Outgoing): Promise<OpenIncoming>
  close(): Promise<void>
}

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

export function createUpstream({
  origins,
  timeoutMs,
  connectionsPerOrigin = 64,
  connect,
  proxy
}: UpstreamOptions): Upstream {
  // An address that swallows packets must leave time for the next one, and for the answer.
  const connectTimeoutMs = Math.ceil(timeoutMs / (origins.length + 2))
  const options = { connectTimeoutMs, connections: connectionsPerOrigin, proxy, identity: connect }
  const all = origins.map((origin) => openConnections(origin, options))
  const poolsFrom = (attempt: number) => {
    const first = attempt % all.length
    return [...all.slice(first), ...all.slice(0, first), ...all.slice(first, first + 1)]
  }

  async function withDeadline<Answer>(
    of: 'whole' | 'silence',
    work: (deadline: Deadline) => Promise<Answer>
  ): Promise<Answer> {
    const deadline = new Deadline(timeoutMs, of)
    try {
      return await work(deadline)
    } finally {
      deadline.stop()
    }
  }

  return {
    send: (request, attempt = 0) =>
      withDeadline(request.isTransfer ? 'silence' : 'whole', (deadline) => {
        const isUpload = request.isTransfer === true && Buffer.byteLength(request.body ?? '') > CHUNK_BYTES
        const begin = () => new WholeAnswer(deadline, isUpload)
        const piecesOf = isUpload ? () => inChunks(Buffer.from(request.body ?? ''), deadline) : undefined
        return firstReachable(poolsFrom(attempt), request, begin, piecesOf)
      }),
    open: (request) =>
      withDeadline('whole', (deadline) =>
        firstReachable(poolsFrom(0), { ...request, bodyTimeout: timeoutMs }, () => new OpenAnswer(deadline))
      ),
    async close() {
      await Promise.all(all.map(({ dispatcher }) => dispatcher.destroy()))
    }
  }
}

/** What a connection takes at once; a longer body of a transfer is handed over in pieces of this size. */
const CHUNK_BYTES = 64 * 1024

/** The next piece is asked for when the connection took the one before. */
const inChunks = (body: Buffer, deadline: Deadline): Readable =>
  Readable.from(chunksOf(body, deadline), { objectMode: false, highWaterMark: CHUNK_BYTES })

function* chunksOf(body: Buffer, deadline: Deadline): Generator<Buffer> {
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    deadline.moved()
    yield body.subarray(at, at + CHUNK_BYTES)
  }
  deadline.moved()
}

/** Answers are looked into, and passed on as they come. */
const UNCODED = { 'accept-encoding': 'identity' }

async function firstReachable<Answer>(
  pools: readonly Connections[],
  { isTransfer: _, body, ...request }: Outgoing & { bodyTimeout?: number },
  begin: () => Exchange<Answer>,
  piecesOf?: () => Readable
): Promise<Answer> {
  const length = piecesOf && { 'content-length': String(Buffer.byteLength(body ?? '')) }
  const headers = { ...UNCODED, ...request.headers, ...length }
  let failure: ServiceError | undefined
  for (const { dispatcher, origin, via } of pools) {
    const exchange = begin()
    dispatcher.dispatch({ ...request, origin, headers, body: piecesOf?.() ?? body ?? null }, exchange)
    try {
      return await exchange.answer
    } catch (error) {
      if (error instanceof ServiceError) throw error
      if (error instanceof errors.HTTPParserError) throw new ServiceError('WECHAT_BAD_RESPONSE', { cause: error })
      failure = new ServiceError('WECHAT_UNREACHABLE', { cause: error, ...viaProxy(via, error) })
      if (exchange.sent) break
    }
  }
  throw failure ?? new ServiceError('WECHAT_UNREACHABLE')
}

/** For the log: an operator looks at the proxy first. */
function viaProxy(via: string | undefined, error: unknown): { detail?: string } {
  if (via === undefined) return {}
  const verdict = error instanceof Error ? proxyVerdict(error) : undefined
  return { detail: `through the proxy ${via}${verdict === undefined ? '' : `, which answered ${verdict}`}` }
}
