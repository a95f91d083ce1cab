/** The time that a call may take: as a whole, or while nothing moves. */

/** In how many parts the time passes. */
const PARTS = 10

/**
 * Parts are counted, not milliseconds: a process that stood still finds the answer when it goes on, and one timer over
 * the whole time would have ended the call before the answer was read. Each standstill costs the call one part at most.
 */
export class Deadline {
  readonly timeoutMs: number
  readonly #isForSilence: boolean
  readonly #timer: NodeJS.Timeout
  #partsLeft = PARTS
  #isStopped = false
  #end: () => void = () => {}

  /** `silence`: whatever moves starts the time anew. */
  constructor(timeoutMs: number, of: 'whole' | 'silence' = 'whole') {
    this.timeoutMs = timeoutMs
    this.#isForSilence = of === 'silence'
    this.#timer = setTimeout(() => this.#passPart(), timeoutMs / PARTS)
  }

  get isOver(): boolean {
    return this.#partsLeft === 0
  }

  /** Calls `end` when the time is over, at once where it is; of several the last one given. */
  whenOver(end: () => void): void {
    this.#end = end
    if (this.isOver) end()
  }

  moved(): void {
    if (!this.#isForSilence || this.isOver || this.#isStopped) return
    this.#partsLeft = PARTS
    this.#timer.refresh()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #passPart(): void {
    this.#partsLeft -= 1
    if (this.isOver) this.#end()
    else if (!this.#isStopped) this.#timer.refresh()
  }
}
