/** The time that a call may take: as a whole, or while nothing moves. */

/** In how many parts the time passes. */
const PARTS = 10
/** So many times the time, and the next part is the last one. */
const MOST_TIMES = 2

/**
 * Parts are counted, not milliseconds: a process that stood still finds the answer when it goes on, and one timer over
 * the whole time would have ended the call before the answer was read. A standstill costs the call one part. After many
 * of them it ends with twice its time, but never before the process could read what came meanwhile.
 */
export class Deadline {
  readonly timeoutMs: number
  readonly #isForSilence: boolean
  readonly #timer: NodeJS.Timeout
  #startedAt = performance.now()
  #partsLeft = PARTS
  /** Until it is over at the latest. */
  #mostMs: number
  #isOver = false
  #isStopped = false
  #end: () => void = () => {}

  /** `silence`: whatever moves starts the time anew. */
  constructor(timeoutMs: number, of: 'whole' | 'silence' = 'whole') {
    this.timeoutMs = timeoutMs
    this.#mostMs = MOST_TIMES * timeoutMs
    this.#isForSilence = of === 'silence'
    this.#timer = setTimeout(() => this.#passPart(), Math.ceil(timeoutMs / PARTS))
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Calls `end` when the time is over, at once where it is; of several the last one given. */
  whenOver(end: () => void): void {
    this.#end = end
    if (this.#isOver) end()
  }

  moved(): void {
    this.#beginAnew(1)
  }

  /** Nothing is asked of the other side until `moved()`: so many times the time may pass. */
  rest(times: number): void {
    this.#beginAnew(times)
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #beginAnew(times: number): void {
    if (!this.#isForSilence || this.#isOver || this.#isStopped) return
    this.#partsLeft = PARTS * times
    this.#mostMs = MOST_TIMES * this.timeoutMs * times
    this.#startedAt = performance.now()
    this.#timer.refresh()
  }

  #passPart(): void {
    const isOverdue = performance.now() - this.#startedAt > this.#mostMs
    this.#partsLeft = isOverdue ? Math.min(this.#partsLeft - 1, 1) : this.#partsLeft - 1
    if (this.#partsLeft > 0) this.#timer.refresh()
    // Timers come before sockets in a turn: an answer that is there is read first.
    else setImmediate(() => this.#endNow())
  }

  #endNow(): void {
    if (this.#isStopped || this.#partsLeft > 0) return
    this.#isOver = true
    this.#end()
  }
}

/** What `promise` resolves to, or undefined after `timeoutMs`. Throws what it is rejected with in time. */
export async function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  const deadline = new Deadline(timeoutMs)
  const { promise: over, resolve } = Promise.withResolvers<undefined>()
  deadline.whenOver(() => resolve(undefined))
  return Promise.race([promise, over]).finally(() => deadline.stop())
}
