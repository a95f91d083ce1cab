/** Codes that the WeChat client hands out: single use, 5 minutes. One book for logins, one for phone numbers. */
const LIFE_MS = 5 * 60 * 1000
/** Used codes are remembered for a while, so that "used" and "unknown" have different answers. */
const MEMORY_MS = 60 * 60 * 1000

export interface Code<T> {
  readonly issuedAt: number
  readonly about: T
  used: boolean
}

export class CodeBook<T> {
  readonly #codes = new Map<string, Code<T>>()
  readonly #make: () => string
  readonly #now: () => number

  constructor(make: () => string, now: () => number) {
    this.#make = make
    this.#now = now
  }

  issue(about: T): string {
    this.#forget()
    const code = this.#make()
    this.#codes.set(code, { issuedAt: this.#now(), about, used: false })
    return code
  }

  find(code: string): Code<T> | undefined {
    return this.#codes.get(code)
  }

  isExpired(code: Code<T>): boolean {
    return this.#now() - code.issuedAt >= LIFE_MS
  }

  /** A Map keeps the order of insertion, so the oldest stand first: a long-running sandbox does not grow. */
  #forget(): void {
    for (const [code, { issuedAt }] of this.#codes) {
      if (this.#now() - issuedAt < MEMORY_MS) return
      this.#codes.delete(code)
    }
  }
}
