/** The body of an answer while it comes: as somebody reads it, and no faster. */
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { ServiceError } from '../errors.ts'
import type { Deadline } from '../util/deadline.ts'

/** So many times as long as WeChat may be silent, the reader may. By default that is the minute of other proxies. */
const READER_TIMES = 12

/**
 * Ends with WECHAT_TIMEOUT where nothing comes for too long, with WECHAT_UNREACHABLE where the connection breaks, and
 * with REQUEST_TIMEOUT where nobody reads. Destroy it, and the connection ends.
 */
export class OpenBody extends Readable {
  readonly #controller: Dispatcher.DispatchController
  readonly #deadline: Deadline
  #isPaused = false
  #isWhole = false

  /** `deadline` is one of silence, and is this body's from now on. */
  constructor(controller: Dispatcher.DispatchController, deadline: Deadline) {
    super()
    this.#controller = controller
    this.#deadline = deadline
    deadline.whenOver(() => this.destroy(this.#late()))
    // Its reader may not be there yet when it breaks, and finds it broken then.
    this.on('error', () => undefined)
  }

  add(piece: Buffer): void {
    if (this.push(piece)) this.#deadline.moved()
    else this.#pause()
  }

  finish(): void {
    this.#isWhole = true
    this.#deadline.stop()
    this.push(null)
  }

  break(error: Error): void {
    this.destroy(error instanceof ServiceError ? error : new ServiceError('WECHAT_UNREACHABLE', { cause: error }))
  }

  override _read(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#deadline.moved()
    this.#controller.resume()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#deadline.stop()
    if (!this.#isWhole) this.#controller.abort(error ?? new Error('nobody reads the answer any more'))
    done(error)
  }

  #pause(): void {
    this.#isPaused = true
    this.#controller.pause()
    this.#deadline.rest(READER_TIMES)
  }

  #late(): ServiceError {
    return this.#isPaused
      ? new ServiceError('REQUEST_TIMEOUT', { detail: 'the caller read nothing of the answer for too long' })
      : new ServiceError('WECHAT_TIMEOUT')
  }
}
