/** The fields of APIv3's JSON: read one by one, and the first that is not what it should be is named. */
import { isUtf8 } from 'node:buffer'
import { readJsonObject } from '../../util/json.ts'
import { toIsoUtc } from './rfc3339.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Where JSON.parse may have rounded a number. */
const LONG_NUMBER = /[:[,]\s*-?\d{16}/

/** undefined unless the bytes are UTF-8 and JSON and the value is an object. Whole numbers beyond 2^53 come as text. */
export function parseJsonObject(bytes: Buffer): JsonObject | undefined {
  if (!isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  try {
    const value: unknown = JSON.parse(text)
    if (!isJsonObject(value)) return undefined
    return LONG_NUMBER.test(text) ? (readJsonObject(text) ?? value) : value
  } catch {
    return undefined
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const MAX_FEN = 9_999_999_999
/** Up to 32 digits today. These become part of names, so they must not hold what separates those. */
const ID = /^[\w-]{1,64}$/

/**
 * Reads required and optional fields by their place, such as `amount.total`. What is not right is read as empty and
 * noted: use nothing of what was read once `fault` is set.
 */
export class FieldReader {
  /** The place of the first field that is absent or not what it should be. */
  fault: string | undefined
  readonly #json: JsonObject

  constructor(json: JsonObject) {
    this.#json = json
  }

  /** undefined where the field is absent, null or an empty text: WeChat writes all three for "none". */
  #find(place: string): unknown {
    let value: unknown = this.#json
    for (const name of place.split('.')) value = isJsonObject(value) ? value[name] : undefined
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
    return this.#note(place, ID.test(value) ? value : undefined, '')
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
    return this.#note(place, toIsoUtc(this.text(place)), '')
  }
}
