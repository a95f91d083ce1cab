/** When which bill is there, what a test wants it to say, and the tokens that bills are downloaded with. */
import { makeBillToken } from '../wire/random.ts'

const HOUR_MS = 3600 * 1000
/** Ready from 10 o'clock of the next day. */
const READY_AFTER_MS = 34 * HOUR_MS
const TOKEN_LIFE_MS = 5 * 60 * 1000
const KEPT_MS = 93 * 24 * HOUR_MS

export type BillKind = 'trade' | 'fundflow'
export type BillStatus = 'ready' | 'creating' | 'none'

export interface BillName {
  mchid: string
  kind: BillKind
  /** YYYY-MM-DD, of Beijing. */
  date: string
}

/** What a test arranged. */
export interface BillScript {
  status: BillStatus
  /** With `ready`: instead of what happened. */
  csv?: string
}

export interface Download {
  readonly mchid: string
  readonly file: Buffer
  readonly until: number
}

const keyOf = ({ mchid, kind, date }: BillName) => `${mchid} ${kind} ${date}`

export class Bills {
  readonly #scripts = new Map<string, BillScript>()
  readonly #downloads = new Map<string, Download>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  script(name: BillName, script: BillScript): void {
    this.#scripts.set(keyOf(name), script)
  }

  scriptOf(name: BillName): BillScript | undefined {
    return this.#scripts.get(keyOf(name))
  }

  /** No bill is made of days that have not ended, nor kept for longer than three months. */
  age(date: string): 'creating' | 'ready' | 'gone' {
    const age = this.#now() - Date.parse(`${date}T00:00:00+08:00`)
    if (age < READY_AFTER_MS) return 'creating'
    return age > KEPT_MS ? 'gone' : 'ready'
  }

  /** Gives the token, good for five minutes. */
  offer(mchid: string, file: Buffer): string {
    const token = makeBillToken()
    this.#downloads.set(token, { mchid, file, until: this.#now() + TOKEN_LIFE_MS })
    return token
  }

  download(token: string): Download | undefined {
    const download = this.#downloads.get(token)
    return download !== undefined && download.until > this.#now() ? download : undefined
  }
}
