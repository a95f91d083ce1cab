/** One signed event on its way to the receiver, and the status that comes back. */
import type { Dispatcher } from 'undici'
import type { Connections } from '../http/connections.ts'
import { Deadline } from '../util/deadline.ts'

/** The body of an answer says nothing to us; a longer one costs the connection. */
const MOST_ANSWER_BYTES = 64 * 1024

export interface Post {
  /** With its query. */
  path: string
  headers: Record<string, string>
  body: string
}

/**
 * Resolves to the status. Redirects are not followed: what answers 3xx has not taken the event. Rejects where there is
 * no status after `timeoutMs`, or where the connection breaks before. Of the rest of an answer only so much is read,
 * and for so long, that the connection can be used again.
 */
export async function post({ dispatcher, origin }: Connections, event: Post, timeoutMs: number): Promise<number> {
  const deadline = new Deadline(timeoutMs)
  const answer = new StatusOnly(deadline)
  dispatcher.dispatch({ origin, method: 'POST', ...event }, answer)
  return answer.status.finally(() => deadline.stop())
}

class StatusOnly implements Dispatcher.DispatchHandler {
  readonly status: Promise<number>
  readonly #deadline: Deadline
  readonly #resolve: (status: number) => void
  readonly #reject: (error: Error) => void
  #controller: Dispatcher.DispatchController | undefined
  /** Of the final answer. */
  #status: number | undefined
  #bytes = 0

  constructor(deadline: Deadline) {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.status = promise
    this.#deadline = deadline
    this.#resolve = resolve
    this.#reject = reject
    deadline.whenOver(() => this.#breakOff(new DOMException('no answer in time', 'TimeoutError')))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#deadline.isOver) controller.abort(new Error('too late'))
  }

  onResponseStart(_controller: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status < 200) return
    this.#status = status
    if (Number(headers['content-length'] ?? 0) > MOST_ANSWER_BYTES) this.#breakOff(new Error('too long'))
  }

  onResponseData(_controller: unknown, { length }: Buffer): void {
    this.#bytes += length
    if (this.#bytes > MOST_ANSWER_BYTES) this.#breakOff(new Error('too long'))
  }

  onResponseEnd(): void {
    this.#resolve(this.#status ?? 0)
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#status === undefined) this.#reject(error)
    else this.#resolve(this.#status)
  }

  /** The request may still wait for a connection. */
  #breakOff(error: Error): void {
    this.onResponseError(undefined, error)
    this.#controller?.abort(error)
  }
}
