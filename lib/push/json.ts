/** The JSON of message push: numbers that JavaScript would round are kept as text (mini-program.md section 0). */
import { isUtf8 } from 'node:buffer'

export type JsonFields = Record<string, unknown>

/** As deep as anybody nests, and far from where JSON.parse or JSON.stringify run out of stack. */
const MAX_DEPTH = 32
/** Events have some dozens; telling exact numbers from others costs time for each. */
const MAX_VALUES = 4096
const RESERVED_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** What newer Node.js tells a reviver; the types of ECMAScript 2024 do not know it. */
type Reviver = (this: unknown, name: string, value: unknown, context: { source?: string }) => unknown
const parse = JSON.parse as (text: string, reviver: Reviver) => unknown

/** The fields of one JSON object; undefined for anything else, for reserved names and for what is too deep or too many. Never throws. */
export function parseJson(body: Buffer): JsonFields | undefined {
  if (!isUtf8(body)) return undefined
  const text = body.toString('utf8')
  if (isTooMuch(text)) return undefined
  try {
    const value = parse(text, revive)
    return isFields(value) ? value : undefined
  } catch {
    return undefined
  }
}

function revive(_name: string, value: unknown, { source = '' }: { source?: string }): unknown {
  if (typeof value === 'number') return isExact(value) ? value : source
  if (isFields(value) && Object.keys(value).some((name) => RESERVED_NAMES.has(name)))
    throw new SyntaxError('a reserved name')
  return value
}

/** Fractions stay numbers; whole numbers do where no neighbour has the same double. */
const isExact = (value: number): boolean =>
  Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value))

const isFields = (value: unknown): value is JsonFields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Brackets and commas outside of strings, counted in one walk. */
function isTooMuch(text: string): boolean {
  let [depth, values, quoted] = [0, 0, false]
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') quoted = !quoted
    else if (quoted) at += character === '\\' ? 1 : 0
    else if (character === '{' || character === '[') depth++
    else if (character === '}' || character === ']') depth--
    if (!quoted && (character === ',' || character === '{' || character === '[')) values++
    if (depth > MAX_DEPTH || values > MAX_VALUES) return true
  }
  return false
}
