/** One request on one connection, followed step by step, since only so can be told whether WeChat may have acted on it. */
import type { Dispatcher } from 'undici'
import { ServiceError } from '../errors.ts'

/** What WeChat says to a request is never larger than this, images included. */
export const MAX_ANSWER_BYTES = 10 * 1024 * 1024

/** HEAD is none of them: WeChat has no call for it. */
export const UPSTREAM_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
export type UpstreamMethod = (typeof UPSTREAM_METHODS)[number]

export interface Outgoing {
  method: UpstreamMethod
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

/** What both kinds of answer have in common. Settles `answer` once, at the latest when `deadline` aborts, also while the request still waits for a connection. */
export abstract class Exchange<Answer> implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Answer>
  /** Whether the request was written to a connection; while it was not, it may be tried elsewhere. */
  sent = false
  protected controller: Dispatcher.DispatchController | undefined
  readonly #deadline: AbortSignal
  readonly #resolve: (answer: Answer) => void
  readonly #reject: (error: unknown) => void
  readonly #expire = () => this.fail(new ServiceError('WECHAT_TIMEOUT'))

  constructor(deadline: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.answer = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#deadline = deadline
    if (deadline.aborted) this.#expire()
    else deadline.addEventListener('abort', this.#expire, { once: true })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.#deadline.aborted) this.#expire()
    else this.sent = true
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#deadline.removeEventListener('abort', this.#expire)
    this.#reject(error)
  }

  abstract onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Incoming['headers']
  ): void
  abstract onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void
  abstract onResponseEnd(): void

  protected settle(answer: Answer): void {
    this.#deadline.removeEventListener('abort', this.#expire)
    this.#resolve(answer)
  }

  protected fail(error: ServiceError): void {
    this.#reject(error)
    this.controller?.abort(error)
  }
}

/** The answer once all of it is there. */
export class WholeAnswer extends Exchange<Incoming> {
  #head: Pick<Incoming, 'status' | 'headers'> = { status: 0, headers: {} }
  #chunks: Buffer[] = []
  #size = 0

  override onResponseStart(_controller: unknown, status: number, headers: Incoming['headers']): void {
    this.#head = { status, headers }
  }

  override onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    if (this.#size <= MAX_ANSWER_BYTES) return
    this.#chunks = []
    this.fail(new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'the answer is larger than 10 MiB' }))
  }

  override onResponseEnd(): void {
    const { status, headers } = this.#head
    const [only] = this.#chunks
    const body = only !== undefined && this.#chunks.length === 1 ? only : Buffer.concat(this.#chunks, this.#size)
    this.settle({ status, headers, body })
  }
}
