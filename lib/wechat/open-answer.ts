/** An answer of any length: its head at once, its body as somebody reads it, and no faster. */
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { ServiceError } from '../errors.ts'
import { Exchange, type Incoming } from './exchange.ts'

export interface OpenIncoming extends Pick<Incoming, 'status' | 'headers'> {
  /**
   * Ends with WECHAT_TIMEOUT where nothing comes for too long, with WECHAT_UNREACHABLE where the connection breaks.
   * Destroy it, and the connection ends.
   */
  body: Readable
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
