/**
 * The steps of a strict walk through XML that comes from strangers, shared by the readers of flat and of nested
 * messages (no DOCTYPE, entity, attribute, comment; CVE-2018-13439 is why). Each step starts where the last one ended
 * and says where the next one starts, or why it goes no further: time grows with the size and with nothing else.
 */
import { isUtf8 } from 'node:buffer'

/** Why a message was refused: a word for metrics, never for the answer. */
export type XmlRefusal =
  /** More bytes than allowed, or more elements, or elements deeper in each other. */
  | 'size'
  /** Not UTF-8, or declared as something else. */
  | 'encoding'
  /** A character XML has no place for, such as NUL. */
  | 'character'
  | 'doctype'
  | 'attribute'
  | 'nested'
  | 'duplicate'
  /** An element named `__proto__`, `constructor` or `prototype`. */
  | 'name'
  /** A bare ampersand, or a reference to anything but XML's five entities and its legal characters. */
  | 'entity'
  /** Anything else: another root, text between elements, a comment, an unclosed element. */
  | 'shape'

export type Step = number | XmlRefusal

export const RESERVED_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

const LEGAL_TEXT = /^[\t\n\r\u0020-\ufffd]*$/
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
const DECLARATION = buildDeclarationPattern()

/** The bytes as legal text of at most `maxBytes`, in an object because a reason is text too. */
export function readLegalText(body: Buffer, maxBytes: number): { text: string } | XmlRefusal {
  if (body.length > maxBytes) return 'size'
  if (!isUtf8(body)) return 'encoding'
  const text = body.toString('utf8')
  return LEGAL_TEXT.test(text) ? { text } : 'character'
}

/** Whether XML can carry `text`. */
export function isLegalText(text: string): boolean {
  return LEGAL_TEXT.test(text) && text.isWellFormed()
}

/** `text` as CDATA. `]]>` would end the section early, and a raw `\r` would be read as `\n`. */
export function quoteCdata(text: string): string {
  return `<![CDATA[${text.replaceAll(']]>', ']]]]><![CDATA[>').replaceAll('\r', ']]>&#13;<![CDATA[')}]]>`
}

/** Past a byte order mark and an XML declaration, where there are any. */
export function scanDeclaration(text: string): Step {
  const start = text.startsWith('\ufeff') ? 1 : 0
  if (!text.startsWith('<?', start)) return start
  DECLARATION.lastIndex = start
  const declaration = DECLARATION.exec(text)?.[0]
  if (declaration === undefined) return 'shape'
  const isForeign = declaration.includes('encoding') && !/["']utf-8["']/i.test(declaration)
  return isForeign ? 'encoding' : DECLARATION.lastIndex
}

export function scanRootTag(text: string, at: number, root: string): Step {
  const nameEnd = skipName(text, at + 1)
  if (text[at] !== '<' || text.slice(at + 1, nameEnd) !== root) return refuseMarkup(text, at, 'shape')
  const end = skipSpace(text, nameEnd)
  if (text[end] === '>') return end + 1
  return end > nameEnd ? 'attribute' : 'shape'
}

export function scanClosingTag(text: string, at: number, name: string): Step {
  if (!text.startsWith(name, at + 2)) return 'shape'
  const end = skipSpace(text, at + 2 + name.length)
  return text[end] === '>' ? end + 1 : 'shape'
}

/** The closing tag of the root, with nothing but white space behind it. */
export function scanEnd(text: string, at: number, root: string): Step {
  const end = scanClosingTag(text, at, root)
  if (typeof end === 'string') return end
  return skipSpace(text, end) === text.length ? text.length : 'shape'
}

/** What is wrong with text between tags, if anything is. */
export function findTextFault(text: string): XmlRefusal | undefined {
  if (text.includes(']]>')) return 'shape'
  if (!text.includes('&')) return undefined
  return text.replace(REFERENCE, '').includes('&') || !isLegalText(decodeReferences(text)) ? 'entity' : undefined
}

/** A word for markup that has no place at `at`; `element` is what to call it if it is a start tag. */
export function refuseMarkup(text: string, at: number, element: XmlRefusal): XmlRefusal {
  if (/^<!(?:doctype|entity)/i.test(text.slice(at, at + 9))) return 'doctype'
  return isNameStart(text.charCodeAt(at + 1)) ? element : 'shape'
}

export function skipSpace(text: string, start: number): number {
  let at = start
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

export function skipName(text: string, start: number): number {
  if (!isNameStart(text.charCodeAt(start))) return start
  let at = start + 1
  while (isNameStart(text.charCodeAt(at)) || isDigit(text.charCodeAt(at))) at++
  return at
}

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

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}

function isNameStart(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === 0x5f
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** Version 1.0 only: 1.1 has other line ends and other legal characters. */
function buildDeclarationPattern(): RegExp {
  const space = '[ \\t\\r\\n]'
  const part = (name: string, value: string) => `${space}+${name}${space}*=${space}*(?:"${value}"|'${value}')`
  const optional = `(?:${part('encoding', '[A-Za-z0-9._-]+')})?(?:${part('standalone', '(?:yes|no)')})?`
  return new RegExp(`<\\?xml${part('version', '1\\.0')}${optional}${space}*\\?>`, 'y')
}
