/**
 * One request on one connection and its answer. Each step is followed, because that alone tells whether the server may
 * have acted on the request.
 */
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { ServiceError } from '../errors.ts'
import type { Deadline } from '../util/deadline.ts'
import { OpenBody } from './open-body.ts'
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
  /** As OpenBody ends. */
  body: Readable
}

/** An answer that is here whole where it is short, or does not say how long it is; any other is open. */
export interface BegunIncoming extends Pick<Incoming, 'status' | 'headers'> {
  body: Buffer | Readable
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

/** An answer in memory, piece by piece. */
abstract class HeldAnswer<Answer> extends Exchange<Answer> {
  protected status = 0
  protected headers: Incoming['headers'] = {}
  protected pieces: Buffer[] = []
  protected size = 0
  /** As it was named; not a number where it was not. */
  protected length = Number.NaN

  override onResponseStart(_controller: unknown, status: number, headers: Incoming['headers']): void {
    this.status = status
    this.headers = headers
    this.length = Number(headers['content-length'])
    this.deadline.moved()
  }

  override onResponseData(_controller: unknown, piece: Buffer): void {
    this.deadline.moved()
    this.pieces.push(piece)
    this.size += piece.length
    if (this.size > MAX_ANSWER_BYTES || this.length > MAX_ANSWER_BYTES) this.#failAsTooLarge()
  }

  #failAsTooLarge(): void {
    this.pieces = []
    this.fail(new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'the answer is larger than 10 MiB' }))
  }

  protected whole(): Incoming {
    this.deadline.stop()
    const { status, headers, pieces, size } = this
    const [only] = pieces
    return { status, headers, body: only !== undefined && pieces.length === 1 ? only : Buffer.concat(pieces, size) }
  }
}

/** The answer once all of it is there. */
export class WholeAnswer extends HeldAnswer<Incoming> {
  override onResponseEnd(): void {
    this.settle(this.whole())
  }
}

/** `answer` settles with the head. */
export class OpenAnswer extends Exchange<OpenIncoming> {
  #body: OpenBody | undefined

  override onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Incoming['headers']
  ): void {
    if (status < 200) return
    this.deadline.moved()
    const body = new OpenBody(controller, this.deadline)
    this.#body = body
    this.settle({ status, headers, body })
  }

  override onResponseData(_controller: unknown, piece: Buffer): void {
    this.#body?.add(piece)
  }

  override onResponseEnd(): void {
    this.#body?.finish()
  }

  override onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#body === undefined) super.onResponseError(controller, error)
    else this.#body.break(error)
  }
}

/** `answer` settles with a whole answer, or, as soon as more than `heldBytes` are there, with one that is open. */
export class BegunAnswer extends HeldAnswer<BegunIncoming> {
  readonly #heldBytes: number
  #body: OpenBody | undefined

  constructor(deadline: Deadline, isUpload: boolean, heldBytes: number) {
    super(deadline, isUpload)
    this.#heldBytes = heldBytes
  }

  override onResponseData(controller: Dispatcher.DispatchController, piece: Buffer): void {
    if (this.#body !== undefined) return void this.#body.add(piece)
    super.onResponseData(controller, piece)
    if (this.size > this.#heldBytes && this.size < this.length) this.#open(controller)
  }

  override onResponseEnd(): void {
    if (this.#body === undefined) this.settle(this.whole())
    else this.#body.finish()
  }

  override onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#body === undefined) super.onResponseError(controller, error)
    else this.#body.break(error)
  }

  #open(controller: Dispatcher.DispatchController): void {
    const { status, headers } = this
    const body = new OpenBody(controller, this.deadline)
    this.#body = body
    for (const piece of this.pieces) body.add(piece)
    this.pieces = []
    this.settle({ status, headers, body })
  }
}
