/** Fields of a push as every receiver can carry them, in JSON and in XML: WeChat passes on whatever users typed. */
import type { JsonObject, JsonValue } from '../util/json.ts'

/**
 * What XML has no place for: control characters but tab and line ends, halves of surrogate pairs, U+FFFE and U+FFFF.
 */
const ILLEGAL = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu
const REPLACEMENT = '\ufffd'
/** As names of fields they hurt whoever merges objects in JavaScript. */
const RESERVED_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** Characters that XML cannot carry become U+FFFD. */
export const cleanText = (text: string): string => text.replace(ILLEGAL, REPLACEMENT)

/**
 * The same with clean names and values, lists and objects inside included. A reserved name gets U+FFFD in front; names
 * that become the same are one, with a list of all their values.
 */
export function cleanFields(fields: JsonObject): JsonObject {
  const clean: JsonObject = {}
  const lists = new Map<string, JsonValue[]>()
  for (const [name, value] of Object.entries(fields)) addField(clean, lists, cleanName(name), cleanValue(value))
  return clean
}

/** Adds a field; one whose name is there already makes a list of all its values. `lists` knows those made so far. */
export function addField<Value>(
  fields: { [name: string]: Value | Value[] },
  lists: Map<string, Value[]>,
  name: string,
  value: Value
): void {
  const list = lists.get(name)
  if (list !== undefined) list.push(value)
  else if (Object.hasOwn(fields, name)) {
    const both = [fields[name] as Value, value]
    lists.set(name, both)
    fields[name] = both
  } else fields[name] = value
}

export function cleanName(name: string): string {
  const clean = cleanText(name)
  return RESERVED_NAMES.has(clean) ? REPLACEMENT + clean : clean
}

function cleanValue(value: JsonValue): JsonValue {
  if (typeof value === 'string') return cleanText(value)
  if (Array.isArray(value)) return value.map(cleanValue)
  return typeof value === 'object' && value !== null ? cleanFields(value) : value
}
