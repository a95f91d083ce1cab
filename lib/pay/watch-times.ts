/**
 * When WeChat is asked about an order or a refund that stayed silent: soon, then ever less often (docs/wechat/pay.md
 * B11, B12).
 */

const MINUTE_MS = 60_000

/**
 * In multiples of the first pause, which is 30 s unless set otherwise: 30 s, 1, 2, 5, 10, 30 min, 1, 3, 6, 12 h; the
 * last repeats.
 */
const ORDER_PAUSES = [1, 2, 4, 10, 20, 60, 120, 360, 720, 1440]
/** 1, 5, 10, 20, 30 min, 1, 3, 6, 12 h. A bank may take days. */
const REFUND_PAUSES = [2, 10, 20, 40, 60, 120, 360, 720, 1440]
const LONGEST_PAUSE_MS = 12 * 3_600_000
/** After a question that got no answer; never later than the schedule has it. */
const FAILED_PAUSE = 120

/** Who began to pay in time may end a little later. */
const GRACE_MS = 10 * MINUTE_MS

/** Milliseconds since 1970. */
export interface Waiting {
  kind: 'order' | 'refund'
  /** When it was asked for, last where that was done several times. */
  createdAtMs: number
  /** Until when the order may be paid, or the refund be made. */
  endMs: number
}

export class WatchTimes {
  readonly #firstMs: number
  readonly #random: () => number

  /** `random` in [0, 1): what waited together does not come back together. */
  constructor(firstMs: number, random: () => number = Math.random) {
    this.#firstMs = firstMs
    this.#random = random
  }

  /** When something just made is first asked for. */
  first(kind: Waiting['kind'], nowMs: number): number {
    return nowMs + (pausesOf(kind)[0] ?? 1) * this.#firstMs
  }

  /** When it is asked for next, after an answer that it is still open; undefined: it is given up. */
  next(waiting: Waiting, nowMs: number): number | undefined {
    const endMs = waiting.endMs + GRACE_MS
    if (nowMs >= endMs) return undefined
    return Math.min(nowMs + this.#jittered(this.#pauseAt(waiting, nowMs)), endMs)
  }

  /** When it is asked for next, after no answer. That is never the end. */
  retry(waiting: Waiting, nowMs: number): number {
    return nowMs + this.#jittered(Math.min(this.#pauseAt(waiting, nowMs), FAILED_PAUSE * this.#firstMs))
  }

  #jittered(pauseMs: number): number {
    return Math.round(Math.min(pauseMs, LONGEST_PAUSE_MS) * (1 + 0.1 * this.#random()))
  }

  /** The pause that follows at this age. */
  #pauseAt({ kind, createdAtMs }: Waiting, nowMs: number): number {
    const pauses = pausesOf(kind).map((multiple) => multiple * this.#firstMs)
    let reached = 0
    const next = pauses.find((pause) => {
      reached += pause
      return createdAtMs + reached > nowMs
    })
    return next ?? pauses.at(-1) ?? this.#firstMs
  }
}

const pausesOf = (kind: Waiting['kind']): number[] => (kind === 'order' ? ORDER_PAUSES : REFUND_PAUSES)
