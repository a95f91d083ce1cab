/**
 * One request on one connection and its answer. Each step is followed, because that alone tells whether the server may
 * have acted on the request.
 */
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { ServiceError } from '../errors.ts'
import type { Deadline } from '../util/deadline.ts'
import { onceConnectionIsKnown, watchSending } from './send-queue.ts'

/** No whole answer of WeChat's is larger, images included. */
export const MAX_ANSWER_BYTES = 10 * 1024 * 1024

/** HEAD is none of them: WeChat has no call for it. */
export const UPSTREAM_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
export type UpstreamMethod = (typeof UPSTREAM_METHODS)[number]

export interface Outgoing {
  method: UpstreamMethod
  /** With its query. It may hold secrets: never log it. */
  path: string
  headers?: Incoming['headers']
  /** Sent with a Content-Length: WeChat answers 412 to chunked bodies. */
  body?: string | Buffer | undefined
  /** It may take as long as something moves, in either direction. Else the call ends with its time. */
  isTransfer?: boolean
}

export interface Incoming {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

/** An answer of any length: its head at once, its body as somebody reads it, and no faster. */
export interface OpenIncoming extends Pick<Incoming, 'status' | 'headers'> {
  /**
   * Ends with WECHAT_TIMEOUT where nothing comes for too long, with WECHAT_UNREACHABLE where the connection breaks.
   * Destroy it, and the connection ends.
   */
  body: Readable
}

/** How often, of the time that nothing may move, the system is asked whether something left. */
const LOOKS = 4

/**
 * What both kinds of answer have in common. Settles `answer` once, at the latest when `deadline` is over, also while
 * the request still waits for a connection.
 */
export abstract class Exchange<Answer> implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Answer>
  /** Whether the request was written to a connection; while it was not, it may be tried elsewhere. */
  sent = false
  protected controller: Dispatcher.DispatchController | undefined
  protected readonly deadline: Deadline
  readonly #isUpload: boolean
  readonly #resolve: (answer: Answer) => void
  readonly #reject: (error: unknown) => void
  #stopWatching: (() => void) | undefined
  #isSettled = false

  /** `isUpload`: the body is so long that it takes its time to leave, and that counts as movement. */
  constructor(deadline: Deadline, isUpload = false) {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.answer = promise
    this.deadline = deadline
    this.#isUpload = isUpload
    this.#resolve = resolve
    this.#reject = reject
    deadline.whenOver(() => this.#expire())
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.deadline.isOver) controller.abort(new ServiceError('WECHAT_TIMEOUT'))
    else this.sent = true
    if (this.sent && this.#isUpload) onceConnectionIsKnown((socket) => this.#watch(socket))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settled()
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
    this.#settled()
    this.#resolve(answer)
  }

  protected fail(error: ServiceError): void {
    this.#settled()
    this.#reject(error)
    this.controller?.abort(error)
  }

  #expire(): void {
    if (!this.#isSettled) this.fail(new ServiceError('WECHAT_TIMEOUT'))
  }

  #settled(): void {
    this.#isSettled = true
    this.#stopWatching?.()
  }

  #watch(socket: Socket): void {
    const { deadline } = this
    if (!this.#isSettled) this.#stopWatching = watchSending(socket, deadline.timeoutMs / LOOKS, () => deadline.moved())
  }
}

/** The answer once all of it is there. */
export class WholeAnswer extends Exchange<Incoming> {
  #head: Pick<Incoming, 'status' | 'headers'> = { status: 0, headers: {} }
  #chunks: Buffer[] = []
  #size = 0

  override onResponseStart(_controller: unknown, status: number, headers: Incoming['headers']): void {
    this.#head = { status, headers }
    this.deadline.moved()
  }

  override onResponseData(_controller: unknown, chunk: Buffer): void {
    this.deadline.moved()
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

/** `answer` settles with the head; from then on the deadline is no longer looked at. */
export class OpenAnswer extends Exchange<OpenIncoming> {
  #body: Readable | undefined
  #isWhole = false

  override onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Incoming['headers']
  ): void {
    if (status < 200) return
    const body = new Readable({
      read: () => controller.resume(),
      destroy: (error, done) => {
        if (!this.#isWhole) controller.abort(error ?? new Error('nobody reads the answer any more'))
        done(error)
      }
    })
    this.#body = body
    this.settle({ status, headers, body })
  }

  override onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#body?.push(chunk) === false) controller.pause()
  }

  override onResponseEnd(): void {
    this.#isWhole = true
    this.#body?.push(null)
  }

  override onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#body === undefined) super.onResponseError(controller, error)
    else this.#body.destroy(named(error))
  }
}

function named(error: Error): ServiceError {
  if (error instanceof ServiceError) return error
  const isLate = 'code' in error && error.code === 'UND_ERR_BODY_TIMEOUT'
  return new ServiceError(isLate ? 'WECHAT_TIMEOUT' : 'WECHAT_UNREACHABLE', { cause: error })
}
