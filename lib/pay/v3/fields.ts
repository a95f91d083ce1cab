/** The fields of APIv3's JSON: read one by one, and the first that is not what it should be is named. */
import { isUtf8 } from 'node:buffer'
import { isPlainObject, readJsonObject } from '../../util/json.ts'
import { isWechatId, type OrderAmount, type PayNotice } from '../model.ts'

export type JsonFields = Readonly<Record<string, unknown>>

/** Where JSON.parse may have rounded a number. */
const LONG_NUMBER = /[:[,]\s*-?\d{16}/

/** undefined unless the bytes are UTF-8 and JSON and the value is an object. Whole numbers beyond 2^53 come as text. */
export function parseJsonObject(bytes: Buffer): JsonFields | undefined {
  if (!isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  try {
    const value: unknown = JSON.parse(text)
    if (!isPlainObject(value)) return undefined
    return LONG_NUMBER.test(text) ? (readJsonObject(text) ?? value) : value
  } catch {
    return undefined
  }
}

const RFC_3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

/** A time of APIv3 (RFC 3339, any zone); undefined when it is no date of the calendar, or names no zone. */
export function fromRfc3339(text: string): string | undefined {
  const written = RFC_3339.exec(text)?.[1]
  const instantMs = written === undefined ? Number.NaN : Date.parse(text)
  if (written === undefined || Number.isNaN(instantMs)) return undefined
  const isOfCalendar = new Date(`${written}Z`).toISOString().startsWith(written)
  return isOfCalendar ? new Date(instantMs).toISOString() : undefined
}

const MAX_FEN = 9_999_999_999

/**
 * Reads required and optional fields by their place, such as `amount.total`. What is not right is read as empty and
 * noted: use nothing of what was read once `fault` is set.
 */
export class FieldReader {
  /** The place of the first field that is absent or not what it should be. */
  fault: string | undefined
  readonly #json: JsonFields

  constructor(json: JsonFields) {
    this.#json = json
  }

  /** undefined where the field is absent, null or an empty text: WeChat writes all three for "none". */
  #find(place: string): unknown {
    let value: unknown = this.#json
    for (const name of place.split('.')) value = isPlainObject(value) ? value[name] : undefined
    return value === null || value === '' ? undefined : value
  }

  #note<T>(place: string, value: T | undefined, empty: T): T {
    if (value === undefined) this.fault ??= place
    return value ?? empty
  }

  has(place: string): boolean {
    return this.#find(place) !== undefined
  }

  text(place: string): string {
    const value = this.#find(place)
    return this.#note(place, typeof value === 'string' ? value : undefined, '')
  }

  /** WeChat's number of a payment or refund. */
  id(place: string): string {
    const value = this.text(place)
    return this.#note(place, isWechatId(value) ? value : undefined, '')
  }

  /** The first group of a pattern that the whole text fits. */
  match(place: string, pattern: RegExp): string {
    return this.#note(place, pattern.exec(this.text(place))?.[1], '')
  }

  /** The first word stands in where the field holds none of them. */
  oneOf<T extends string>(place: string, words: readonly [T, ...T[]]): T {
    const value = this.#find(place)
    const known = words.find((word) => word === value)
    return this.#note(place, known, words[0])
  }

  /** An amount in fen: a whole number of at most ten digits. */
  fen(place: string): number {
    const value = this.#find(place)
    const isFen = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_FEN
    return this.#note(place, isFen ? value : undefined, 0)
  }

  /** RFC 3339 as ISO 8601 in UTC. */
  time(place: string): string {
    return this.#note(place, fromRfc3339(this.text(place)), '')
  }

  /** As `text`, and the next ones as `id`, `fen` and `time`; undefined where the field is absent. */
  optionalText(place: string): string | undefined {
    return this.has(place) ? this.text(place) : undefined
  }

  optionalId(place: string): string | undefined {
    return this.has(place) ? this.id(place) : undefined
  }

  optionalFen(place: string): number | undefined {
    return this.has(place) ? this.fen(place) : undefined
  }

  optionalTime(place: string): string | undefined {
    return this.has(place) ? this.time(place) : undefined
  }
}

/** Why a message is not what it should be: `reason` is the place of the fault, such as `amount.total`, or `body`. */
export interface MalformedV3 {
  status: 'malformed'
  reason: string
}

/**
 * The order's amount, and what the payer paid, which can be less by coupons. WeChat's default is CNY, in requests too.
 */
export function readAmount(fields: FieldReader): OrderAmount {
  return {
    total: fields.fen('amount.total'),
    payerTotal: fields.optionalFen('amount.payer_total'),
    currency: fields.optionalText('amount.currency') ?? 'CNY'
  }
}

/** What every callback says of itself. */
export interface EnvelopeV3 {
  eventType: string
  /** ISO 8601, UTC. */
  createTime: string | undefined
}

/** A kind of callback: by which event types it comes, and how its opened resource is read. */
export interface NoticeKindV3 {
  eventTypes: readonly string[]
  read(raw: JsonFields, envelope: EnvelopeV3): PayNotice
}
