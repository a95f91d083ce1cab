/** Calls to WeChat's servers: kept-alive connections, one deadline over everything, and errors that say whether WeChat may have acted. */
import { type Dispatcher, Pool } from 'undici'
import { ServiceError } from '../errors.ts'

/** What WeChat says to a request body is never larger than this, images aside. */
const MAX_ANSWER_BYTES = 10 * 1024 * 1024

export interface Outgoing {
  method: 'GET' | 'POST'
  /** With its query. It may hold secrets: never log it. */
  path: string
  headers?: Record<string, string>
  /** Sent with a Content-Length: WeChat answers 412 to chunked bodies. */
  body?: string | Buffer
}

export interface Incoming {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

export interface Upstream {
  /**
   * Sends one request. The next origin is tried only while no connection could be made, so nothing is ever sent twice.
   * Throws WECHAT_UNREACHABLE, WECHAT_TIMEOUT, WECHAT_BAD_RESPONSE (too large).
   */
  send(request: Outgoing): Promise<Incoming>
  close(): Promise<void>
}

export interface UpstreamOptions {
  /** In the order in which they are tried. */
  origins: readonly string[]
  /** From the first attempt to connect until the last byte of the answer. */
  timeoutMs: number
  connectionsPerOrigin?: number
}

export function createUpstream({ origins, timeoutMs, connectionsPerOrigin = 64 }: UpstreamOptions): Upstream {
  const pools = origins.map(
    (origin) =>
      new Pool(origin, {
        connections: connectionsPerOrigin,
        connect: { timeout: timeoutMs },
        headersTimeout: 0,
        bodyTimeout: 0
      })
  )

  return {
    async send(request) {
      const deadline = new AbortController()
      const timer = setTimeout(() => deadline.abort(), timeoutMs)
      try {
        return await firstReachable(pools, request, deadline.signal)
      } finally {
        clearTimeout(timer)
      }
    },
    async close() {
      await Promise.all(pools.map((pool) => pool.destroy()))
    }
  }
}

async function firstReachable(pools: readonly Pool[], request: Outgoing, signal: AbortSignal): Promise<Incoming> {
  let lastError: unknown
  for (const pool of pools) {
    try {
      return await exchange(pool, request, signal)
    } catch (error) {
      if (error instanceof ServiceError) throw error
      if (signal.aborted) throw new ServiceError('WECHAT_TIMEOUT', { cause: error })
      lastError = error
      if (!neverConnected(error)) break
    }
  }
  throw new ServiceError('WECHAT_UNREACHABLE', { cause: lastError })
}

async function exchange(pool: Pool, request: Outgoing, signal: AbortSignal): Promise<Incoming> {
  const { method, path, headers = {}, body = null } = request
  const answer = await pool.request({ method, path, headers, body, signal })
  return { status: answer.statusCode, headers: answer.headers, body: await readAll(answer.body) }
}

async function readAll(stream: Dispatcher.ResponseData['body']): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    size += chunk.length
    if (size > MAX_ANSWER_BYTES)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'the answer is larger than 10 MiB' })
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}

const CONNECT_FAILURES = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ENOENT'
])

/** Whether the request cannot have reached anybody: no address, no connection, or no TLS. */
function neverConnected(error: unknown): boolean {
  const { code = '', syscall } = error as NodeJS.ErrnoException
  return (
    CONNECT_FAILURES.has(code) ||
    syscall === 'connect' ||
    code.startsWith('ERR_TLS_') ||
    code.startsWith('CERT_') ||
    code.includes('SELF_SIGNED')
  )
}
