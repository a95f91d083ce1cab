/** What XML can carry: its characters, its references, and names that hurt nobody. */

export const RESERVED_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

const LEGAL_TEXT = /^[\t\n\r\u0020-\ufffd]*$/
/**
 * What XML has no place for: control characters but tab and line ends, halves of surrogate pairs, U+FFFE and U+FFFF.
 */
const ILLEGAL = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu
const REPLACEMENT = '\ufffd'
const REFERENCE = /&(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);/g
const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&apos;': "'"
}
/** What a reference to a character XML does not have decodes to, so that LEGAL_TEXT finds it. */
const ILLEGAL_CHARACTER = '\uffff'

/** Whether XML can carry `text`. */
export function isLegalText(text: string): boolean {
  return LEGAL_TEXT.test(text) && text.isWellFormed()
}

/** Characters that XML cannot carry become U+FFFD. */
export const cleanText = (text: string): string => text.replace(ILLEGAL, REPLACEMENT)

/** The same of a name. A reserved one gets U+FFFD in front: it hurts whoever merges objects in JavaScript. */
export function cleanName(name: string): string {
  const clean = cleanText(name)
  return RESERVED_NAMES.has(clean) ? REPLACEMENT + clean : clean
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

/** `text` as CDATA. `]]>` would end the section early, and a raw `\r` would be read as `\n`. */
export function quoteCdata(text: string): string {
  return `<![CDATA[${text.replaceAll(']]>', ']]]]><![CDATA[>').replaceAll('\r', ']]>&#13;<![CDATA[')}]]>`
}

/** Whether every ampersand begins one of XML's five entities or a character. */
export const hasOnlyReferences = (text: string): boolean => !text.replace(REFERENCE, '').includes('&')

/** One pass, so that `&amp;lt;` is `&lt;` and never `<`. */
export function decodeReferences(text: string): string {
  return text.includes('&')
    ? text.replace(REFERENCE, (reference) => ENTITIES[reference] ?? decodeCharacter(reference))
    : text
}

function decodeCharacter(reference: string): string {
  const isHex = reference[2] === 'x'
  const code = Number.parseInt(reference.slice(isHex ? 3 : 2), isHex ? 16 : 10)
  const isCharacter = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
  return isCharacter ? String.fromCodePoint(code) : ILLEGAL_CHARACTER
}
