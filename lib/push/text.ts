/**
 * From the bytes of a push to text, whatever bytes they are; and its fields as every receiver can carry them, in JSON
 * and in XML: WeChat passes on whatever users typed.
 */
import { isUtf8 } from 'node:buffer'
import type { JsonObject, JsonValue } from '../util/json.ts'
import { addField, cleanName, cleanText } from '../xml/text.ts'

const BYTE_ORDER_MARK = Buffer.from('\ufeff')
const LAST_SPACE = 0x20

export interface PushText {
  /** As UTF-8; what is none is U+FFFD. */
  text: string
  /**
   * The same text, or where something was no UTF-8, one character for each byte: it shows what the other one does not.
   */
  exact: string
}

/** Without a byte order mark, and without white space and control characters at its beginning. */
export function decodePush(body: Buffer): PushText {
  let start = body.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0
  while (start < body.length && (body[start] ?? 0) <= LAST_SPACE) start += 1
  const text = body.toString('utf8', start)
  return { text, exact: isUtf8(body) ? text : body.toString('latin1', start) }
}

/**
 * The same fields with clean names and values, lists and objects inside included; names that become the same are one,
 * with a list of all their values.
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
