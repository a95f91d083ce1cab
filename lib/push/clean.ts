/** Fields of a push as every receiver can carry them, in JSON and in XML: WeChat passes on whatever users typed. */
import type { JsonObject, JsonValue } from '../util/json.ts'
import { addField, cleanName, cleanText } from '../xml/text.ts'

/**
 * The same with clean names and values, lists and objects inside included; names that become the same are one, with a
 * list of all their values.
 */
export function cleanFields(fields: JsonObject): JsonObject {
  const clean: JsonObject = {}
  const lists = new Map<string, JsonValue[]>()
  for (const [name, value] of Object.entries(fields)) addField(clean, lists, cleanName(name), cleanValue(value))
  return clean
}

function cleanValue(value: JsonValue): JsonValue {
  if (typeof value === 'string') return cleanText(value)
  if (Array.isArray(value)) return value.map(cleanValue)
  return typeof value === 'object' && value !== null ? cleanFields(value) : value
}
