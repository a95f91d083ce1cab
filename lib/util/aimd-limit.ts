/** How much may be under way at once towards somebody who may be slow. */

/**
 * Additive increase, multiplicative decrease, as TCP does it (RFC 5681): one more after as many successes as the limit
 * allows, half as many after a failure, never fewer than one. It begins with the most.
 */
export class AimdLimit {
  readonly #most: number
  readonly #onChange: (limit: number) => void
  #limit: number
  #successes = 0
  #decreases = 0

  constructor(most: number, onChange: (limit: number) => void) {
    this.#most = most
    this.#limit = most
    this.#onChange = onChange
  }

  /** Returns what `failed` needs. */
  begin(): number {
    return this.#decreases
  }

  succeeded(): void {
    this.#successes += 1
    if (this.#limit < this.#most && this.#successes >= this.#limit) this.#change(this.#limit + 1)
  }

  /** Of those that were under way together only the first counts: the others tell nothing of the new limit. */
  failed(begun: number): void {
    if (begun < this.#decreases) return
    this.#decreases += 1
    this.#change(Math.max(1, Math.floor(this.#limit / 2)))
  }

  #change(limit: number): void {
    this.#successes = 0
    this.#limit = limit
    this.#onChange(limit)
  }
}
