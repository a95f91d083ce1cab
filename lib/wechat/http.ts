/** Calls to WeChat's servers: kept-alive connections, a deadline for every answer, and errors that say whether WeChat may have acted. */
import { errors, Pool } from 'undici'
import { ServiceError } from '../errors.ts'
import { type Exchange, type Incoming, type Outgoing, WholeAnswer } from './exchange.ts'
import { OpenAnswer, type OpenIncoming } from './open-answer.ts'

export type { Incoming, Outgoing } from './exchange.ts'
export type { OpenIncoming } from './open-answer.ts'

export interface Upstream {
  /**
   * Sends one request. While no connection could be made the next origin is tried, at last the first once more; nothing
   * that was sent is ever sent twice. `attempt`, from 0, for a repetition by the caller: each begins at the next origin. Throws WECHAT_UNREACHABLE, WECHAT_TIMEOUT, WECHAT_BAD_RESPONSE (no HTTP, or too large).
   */
  send(request: Outgoing, attempt?: number): Promise<Incoming>
  /**
   * As `send`, for answers of any length: resolves with the head, and the body is read as it comes. The deadline is that of
   * the head; after it no more than `timeoutMs` may pass without a byte that somebody waits for.
   */
  open(request: Outgoing): Promise<OpenIncoming>
  close(): Promise<void>
}

export interface UpstreamOptions {
  /** In the order in which they are tried. */
  origins: readonly string[]
  /** From the first attempt to connect until the last byte of the answer. */
  timeoutMs: number
  connectionsPerOrigin?: number
  /** Our certificate and its private key (PEM), where the server asks who we are. */
  connect?: { cert: string; key: string }
}

export function createUpstream({ origins, timeoutMs, connectionsPerOrigin = 64, connect }: UpstreamOptions): Upstream {
  // An address that swallows packets must leave time for the next one, and for the answer.
  const connectTimeoutMs = Math.ceil(timeoutMs / (origins.length + 2))
  const pools = origins.map(
    (origin) =>
      new Pool(origin, {
        connections: connectionsPerOrigin,
        connect: { timeout: connectTimeoutMs, ...connect },
        headersTimeout: 0,
        bodyTimeout: 0
      })
  )
  const poolsFrom = (attempt: number) => {
    const first = attempt % pools.length
    return [...pools.slice(first), ...pools.slice(0, first), ...pools.slice(first, first + 1)]
  }

  async function withDeadline<Answer>(work: (deadline: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), timeoutMs)
    try {
      return await work(deadline.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    send: (request, attempt = 0) =>
      withDeadline((deadline) => firstReachable(poolsFrom(attempt), request, () => new WholeAnswer(deadline))),
    open: (request) =>
      withDeadline((deadline) =>
        firstReachable(poolsFrom(0), { ...request, bodyTimeout: timeoutMs }, () => new OpenAnswer(deadline))
      ),
    async close() {
      await Promise.all(pools.map((pool) => pool.destroy()))
    }
  }
}

/** Answers are looked into, and passed on as they come. */
const UNCODED = { 'accept-encoding': 'identity' }

async function firstReachable<Answer>(
  pools: readonly Pool[],
  request: Outgoing & { bodyTimeout?: number },
  begin: () => Exchange<Answer>
): Promise<Answer> {
  const headers = { ...UNCODED, ...request.headers }
  let cause: unknown
  for (const pool of pools) {
    const exchange = begin()
    pool.dispatch({ body: null, ...request, headers }, exchange)
    try {
      return await exchange.answer
    } catch (error) {
      if (error instanceof ServiceError) throw error
      if (error instanceof errors.HTTPParserError) throw new ServiceError('WECHAT_BAD_RESPONSE', { cause: error })
      cause = error
      if (exchange.sent) break
    }
  }
  throw new ServiceError('WECHAT_UNREACHABLE', { cause })
}
