/**
 * JSON objects taken apart and put together as text: what is only passed on must not lose the digits of a 64-bit
 * number.
 */
import { isUtf8 } from 'node:buffer'
import { isPlainObject } from '../../util/json.ts'

/**
 * Each member's name with its value as the text it was written in. Of a name that comes twice the last counts, as for
 * JSON.parse.
 */
export type JsonMembers = Map<string, string>

/** The members of a JSON object in UTF-8; undefined where the bytes are anything else. */
export function readMembers(bytes: Buffer): JsonMembers | undefined {
  const text = isUtf8(bytes) ? bytes.toString() : ''
  return isObject(text) ? split(text) : undefined
}

export function writeMembers(members: Iterable<readonly [name: string, value: string]>): string {
  return `{${Array.from(members, ([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`
}

function isObject(text: string): boolean {
  try {
    return isPlainObject(JSON.parse(text))
  } catch {
    return false
  }
}

/** `text` is known to be a JSON object, so nothing is checked again. */
function split(text: string): JsonMembers {
  const members: JsonMembers = new Map()
  let at = text.indexOf('{')
  for (let start = text.indexOf('"', at); start !== -1 && text[at] !== '}'; start = text.indexOf('"', at)) {
    const nameEnd = endOfString(text, start)
    const valueStart = text.indexOf(':', nameEnd) + 1
    at = endOfValue(text, valueStart)
    members.set(JSON.parse(text.slice(start, nameEnd)), text.slice(valueStart, at).trim())
  }
  return members
}

/** `start` is at the opening quote; answers the place after the closing one. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

/** The place of the comma or brace that ends the value. */
function endOfValue(text: string, start: number): number {
  let depth = 0
  for (let at = start; ; at += 1) {
    const sign = text[at]
    if (depth === 0 && (sign === ',' || sign === '}')) return at
    if (sign === '"') at = endOfString(text, at) - 1
    else if (sign === '{' || sign === '[') depth += 1
    else if (sign === '}' || sign === ']') depth -= 1
  }
}
