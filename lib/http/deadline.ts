/** The time that a call may take: as a whole, or while nothing moves. */

export class Deadline {
  readonly timeoutMs: number
  readonly #isForSilence: boolean
  readonly #timer: NodeJS.Timeout
  #isOver = false
  #isStopped = false
  #end: () => void = () => {}

  /** `silence`: whatever moves starts the time anew. */
  constructor(timeoutMs: number, of: 'whole' | 'silence' = 'whole') {
    this.timeoutMs = timeoutMs
    this.#isForSilence = of === 'silence'
    this.#timer = setTimeout(() => {
      this.#isOver = true
      this.#end()
    }, timeoutMs)
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
    if (this.#isForSilence && !this.#isOver && !this.#isStopped) this.#timer.refresh()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }
}
