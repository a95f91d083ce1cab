/**
 * JSON as WeChat writes it. More is read than the standard allows: control characters stand bare in texts, bytes that
 * are no UTF-8 become U+FFFD, a byte order mark may come first and NULs last. Numbers that JavaScript would round are
 * kept as text (docs/wechat/mini-program.md 0).
 */

export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject

/** Each name is a property of its own, `__proto__` too, as JSON.parse makes them. */
export interface JsonObject {
  [name: string]: JsonValue
}

/** Whether `value` is an object with members: no list, not null. */
export const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export interface JsonOptions {
  /**
   * Of a name that one object has twice: the last value counts (as JSON.parse has it), all count as a list (but the
   * same text, number or literal twice is one), or nothing is read.
   */
  repeated?: 'last' | 'list' | 'refuse'
  /** Objects and lists inside each other. Far from where JSON.stringify runs out of stack. */
  maxDepth?: number
  /** Texts, numbers, literals, objects and lists in all. */
  maxValues?: number
}

const MAX_DEPTH = 64
const MAX_VALUES = 16_384

/** One JSON object; undefined for anything else, and for what is too deep or too much. Never throws. */
export function readJsonObject(input: Buffer | string, options: JsonOptions = {}): JsonObject | undefined {
  return new JsonReader(typeof input === 'string' ? input : input.toString('utf8'), options).read()
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const FOUR_HEX = /^[0-9a-fA-F]{4}$/
const LITERALS: readonly (readonly [text: string, value: boolean | null])[] = [
  ['true', true],
  ['false', false],
  ['null', null]
]
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t'
}
const NUL = '\0'

/**
 * Walks the text once. Each step returns its value, or undefined where there is none, and then the whole text is none.
 */
class JsonReader {
  readonly #text: string
  readonly #repeated: 'last' | 'list' | 'refuse'
  readonly #maxDepth: number
  readonly #maxValues: number
  #at = 0
  #values = 0

  constructor(text: string, options: JsonOptions) {
    const { repeated = 'last', maxDepth = MAX_DEPTH, maxValues = MAX_VALUES } = options
    this.#text = text
    this.#repeated = repeated
    this.#maxDepth = maxDepth
    this.#maxValues = maxValues
  }

  read(): JsonObject | undefined {
    if (this.#text.startsWith('\ufeff')) this.#at = 1
    this.#skipSpace()
    if (this.#text[this.#at] !== '{') return undefined
    const value = this.#value(1) as JsonObject | undefined
    if (value === undefined) return undefined
    do this.#skipSpace()
    while (this.#take(NUL))
    return this.#at === this.#text.length ? value : undefined
  }

  #value(depth: number): JsonValue | undefined {
    this.#values += 1
    if (depth > this.#maxDepth + 1 || this.#values > this.#maxValues) return undefined
    const first = this.#text[this.#at]
    if (first === '"') return this.#string()
    if (first === '{' || first === '[') {
      if (depth > this.#maxDepth) return undefined
      return first === '{' ? this.#object(depth) : this.#list(depth)
    }
    return this.#number() ?? this.#literal()
  }

  #object(depth: number): JsonObject | undefined {
    const object: JsonObject = {}
    const lists = new Map<string, JsonValue[]>()
    this.#at += 1
    this.#skipSpace()
    if (this.#take('}')) return object
    do {
      this.#skipSpace()
      const name = this.#text[this.#at] === '"' ? this.#string() : undefined
      this.#skipSpace()
      if (name === undefined || !this.#take(':')) return undefined
      this.#skipSpace()
      const value = this.#value(depth + 1)
      if (value === undefined || !this.#add(object, lists, name, value)) return undefined
      this.#skipSpace()
    } while (this.#take(','))
    return this.#take('}') ? object : undefined
  }

  /** False where the name is there already and must not be. `lists` holds what was repeated so far. */
  #add(object: JsonObject, lists: Map<string, JsonValue[]>, name: string, value: JsonValue): boolean {
    const isRepeated = Object.hasOwn(object, name)
    if (isRepeated && this.#repeated === 'refuse') return false
    if (!isRepeated || this.#repeated === 'last') {
      define(object, name, value)
      return true
    }
    const list = lists.get(name)
    if (list !== undefined) list.push(value)
    else if (object[name] !== value) {
      const both = [object[name] as JsonValue, value]
      lists.set(name, both)
      define(object, name, both)
    }
    return true
  }

  #list(depth: number): JsonValue[] | undefined {
    const list: JsonValue[] = []
    this.#at += 1
    this.#skipSpace()
    if (this.#take(']')) return list
    do {
      this.#skipSpace()
      const value = this.#value(depth + 1)
      if (value === undefined) return undefined
      list.push(value)
      this.#skipSpace()
    } while (this.#take(','))
    return this.#take(']') ? list : undefined
  }

  #string(): string | undefined {
    const text = this.#text
    let read = ''
    let from = this.#at + 1
    for (let at = from; at < text.length; at++) {
      if (text[at] === '"') {
        this.#at = at + 1
        return read + text.slice(from, at)
      }
      if (text[at] !== '\\') continue
      const [value, length] = escapeAt(text, at)
      read += text.slice(from, at) + value
      from = at + length
      at = from - 1
    }
    return undefined
  }

  /** Fractions stay numbers; whole numbers do where no neighbour has the same double. */
  #number(): number | string | undefined {
    NUMBER.lastIndex = this.#at
    const [source] = NUMBER.exec(this.#text) ?? []
    if (source === undefined) return undefined
    this.#at += source.length
    const value = Number(source)
    const isExact = Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value))
    return isExact ? value : source
  }

  #literal(): boolean | null | undefined {
    for (const [text, value] of LITERALS) {
      if (this.#text.startsWith(text, this.#at)) {
        this.#at += text.length
        return value
      }
    }
    return undefined
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at += 1
    return true
  }

  #skipSpace(): void {
    const text = this.#text
    let character = text[this.#at]
    while (character === ' ' || character === '\n' || character === '\r' || character === '\t')
      character = text[++this.#at]
  }
}

/** What the backslash at `at` begins, and how long that is written. One that begins no escape stands for itself. */
function escapeAt(text: string, at: number): [value: string, length: number] {
  const character = text[at + 1] ?? ''
  const hex = text.slice(at + 2, at + 6)
  if (character === 'u' && FOUR_HEX.test(hex)) return [String.fromCharCode(Number.parseInt(hex, 16)), 6]
  const value = Object.hasOwn(ESCAPES, character) ? ESCAPES[character] : undefined
  return value === undefined ? ['\\', 1] : [value, 2]
}

/** As an assignment, but `__proto__` is a name like any other. */
function define(object: JsonObject, name: string, value: JsonValue): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}
