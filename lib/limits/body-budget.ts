/** How many bytes of request bodies may be under way at a time: received, and not handled yet. */

/**
 * What a piece of a body takes besides its bytes, in bytes: a buffer of its own. A body that comes byte by byte takes
 * some hundred times its length.
 */
const PIECE_BYTES = 256

/** Of one client, as a part of all. */
const SHARE = 1 / 4

/** What one request takes of a budget. */
export class BodyAccount {
  readonly #budget: BodyBudget
  readonly #clientOf: () => string
  #client: string | undefined
  #bytes = 0
  #isOpen = true

  constructor(budget: BodyBudget, clientOf: () => string) {
    this.#budget = budget
    this.#clientOf = clientOf
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Asked for only when it matters, since it costs as much as all else here. */
  get client(): string {
    this.#client ??= this.#clientOf()
    return this.#client
  }

  /**
   * Counts a piece that came. False where that is too much, of all bodies or of this client's: then refuse the request.
   */
  add(length: number): boolean {
    if (!this.#isOpen) return false
    const bytes = length + PIECE_BYTES
    this.#bytes += bytes
    return this.#budget.take(this, bytes)
  }

  /** The request is answered, or gone: nothing of it counts any more. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#budget.release(this)
  }
}

export class BodyBudget {
  readonly #limit: number
  readonly #share: number
  #bytes = 0
  /** Accounts whose clients are not known yet, because nothing depended on them. */
  readonly #unassigned = new Set<BodyAccount>()
  readonly #byClient = new Map<string, number>()

  constructor(limitBytes: number) {
    this.#limit = limitBytes
    this.#share = limitBytes * SHARE
  }

  /** Under way now. */
  get bytes(): number {
    return this.#bytes
  }

  /** For one request; `clientOf` names its client. */
  open(clientOf: () => string): BodyAccount {
    const account = new BodyAccount(this, clientOf)
    this.#unassigned.add(account)
    return account
  }

  take(account: BodyAccount, bytes: number): boolean {
    this.#bytes += bytes
    if (!this.#unassigned.has(account)) this.#addFor(account.client, bytes)
    // Nobody has more than all have.
    if (this.#bytes <= this.#share) return true
    this.#assignAll()
    return this.#bytes <= this.#limit && (this.#byClient.get(account.client) ?? 0) <= this.#share
  }

  release(account: BodyAccount): void {
    this.#bytes -= account.bytes
    if (!this.#unassigned.delete(account)) this.#addFor(account.client, -account.bytes)
  }

  #assignAll(): void {
    for (const account of this.#unassigned) this.#addFor(account.client, account.bytes)
    this.#unassigned.clear()
  }

  #addFor(client: string, bytes: number): void {
    const sum = (this.#byClient.get(client) ?? 0) + bytes
    if (sum > 0) this.#byClient.set(client, sum)
    else this.#byClient.delete(client)
  }
}
