/**
 * The XML of WeChat Pay APIv2: one flat element of text elements, read and written.
 *
 * The reader stands at a public door, before any signature was checked, so it takes this shape and nothing else (no
 * DOCTYPE, entity, attribute, nesting, comment; CVE-2018-13439 is why). A strict scan decides, and only what passed it
 * reaches fast-xml-parser, which by itself would take unclosed, doubled and entity-laden messages. Both walk the text
 * once: time grows with the size and with nothing else.
 */
import { isUtf8 } from 'node:buffer'
import { type MatcherView, XMLParser } from 'fast-xml-parser'

/** Why a message was refused: a word for metrics, never for the answer. */
export type XmlRefusal =
  /** More bytes than allowed, or more than 1024 elements (a notice has about 20, and three for each coupon). */
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

export type FlatXml =
  | { status: 'parsed'; fields: ReadonlyMap<string, string> }
  | { status: 'refused'; reason: XmlRefusal }

export interface FlatXmlOptions {
  /** `root` inside the req_info of refund notices, else `xml`. */
  root?: 'xml' | 'root'
  maxBytes?: number
}

/** Four times what a real notice can reach. */
export const MAX_XML_BYTES = 64 * 1024

const MAX_FIELDS = 1024
const RESERVED_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
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

/**
 * Reads one flat message. Values come as written: untrimmed, digits as text, references decoded once; only line ends
 * become `\n`, as XML 1.0 (section 2.11) wants. Never throws, expands or fetches anything.
 */
export function parseFlatXml(body: Buffer, { root = 'xml', maxBytes = MAX_XML_BYTES }: FlatXmlOptions = {}): FlatXml {
  if (body.length > maxBytes) return refused('size')
  if (!isUtf8(body)) return refused('encoding')
  const text = body.toString('utf8')
  if (!LEGAL_TEXT.test(text)) return refused('character')
  const start = scanDeclaration(text)
  if (typeof start === 'string') return refused(start)
  const end = scanMessage(text, start, root)
  if (typeof end === 'string') return refused(end)
  return { status: 'parsed', fields: readFields(text.slice(start)) }
}

/**
 * Writes `<xml>` with every value in CDATA, the spelling of WeChat's own samples. Throws RangeError on a name or a
 * character that `parseFlatXml` would refuse: names are ours, and text has to be checked before it gets here.
 */
export function buildFlatXml(fields: Iterable<readonly [name: string, value: string]>): string {
  let xml = '<xml>'
  for (const [name, value] of fields) {
    if (!FIELD_NAME.test(name) || RESERVED_NAMES.has(name)) throw new RangeError(`${name} cannot name an XML element`)
    if (!isLegalText(value)) throw new RangeError(`the value of ${name} has a character XML cannot carry`)
    xml += `<${name}>${quote(value)}</${name}>`
  }
  return `${xml}</xml>`
}

// ']]>' would end the section early, and a raw '\r' would be read as '\n'.
function quote(value: string): string {
  return `<![CDATA[${value.replaceAll(']]>', ']]]]><![CDATA[>').replaceAll('\r', ']]>&#13;<![CDATA[')}]]>`
}

function refused(reason: XmlRefusal): FlatXml {
  return { status: 'refused', reason }
}

function isLegalText(text: string): boolean {
  return LEGAL_TEXT.test(text) && text.isWellFormed()
}

// The scan. Each step starts where the last one ended and says where the next one starts, or why it goes no further.
type Step = number | XmlRefusal

function scanMessage(text: string, start: number, root: string): Step {
  const names = new Set<string>()
  let at = scanRootTag(text, skipSpace(text, start), root)
  while (typeof at === 'number') {
    at = skipSpace(text, at)
    if (text.startsWith('</', at)) return scanEnd(text, at, root)
    at = scanElement(text, at, names)
  }
  return at
}

function scanDeclaration(text: string): Step {
  const start = text.startsWith('\ufeff') ? 1 : 0
  if (!text.startsWith('<?', start)) return start
  DECLARATION.lastIndex = start
  const declaration = DECLARATION.exec(text)?.[0]
  if (declaration === undefined) return 'shape'
  const isForeign = declaration.includes('encoding') && !/["']utf-8["']/i.test(declaration)
  return isForeign ? 'encoding' : DECLARATION.lastIndex
}

function scanRootTag(text: string, at: number, root: string): Step {
  const nameEnd = skipName(text, at + 1)
  if (text[at] !== '<' || text.slice(at + 1, nameEnd) !== root) return refuseMarkup(text, at, 'shape')
  const end = skipSpace(text, nameEnd)
  if (text[end] === '>') return end + 1
  return end > nameEnd ? 'attribute' : 'shape'
}

function scanEnd(text: string, at: number, root: string): Step {
  const end = scanClosingTag(text, at, root)
  if (typeof end === 'string') return end
  return skipSpace(text, end) === text.length ? text.length : 'shape'
}

function scanElement(text: string, at: number, names: Set<string>): Step {
  const nameEnd = skipName(text, at + 1)
  if (text[at] !== '<' || nameEnd === at + 1) return refuseMarkup(text, at, 'shape')
  const name = text.slice(at + 1, nameEnd)
  if (RESERVED_NAMES.has(name)) return 'name'
  if (names.has(name)) return 'duplicate'
  if (names.size === MAX_FIELDS) return 'size'
  names.add(name)
  const end = skipSpace(text, nameEnd)
  if (text[end] === '>') return scanContent(text, end + 1, name)
  if (text.startsWith('/>', end)) return end + 2
  return end > nameEnd ? 'attribute' : 'shape'
}

function scanContent(text: string, start: number, name: string): Step {
  let at = start
  for (;;) {
    const markup = text.indexOf('<', at)
    if (markup === -1) return 'shape'
    const fault = markup > at ? findTextFault(text.slice(at, markup)) : undefined
    if (fault !== undefined) return fault
    if (text[markup + 1] === '/') return scanClosingTag(text, markup, name)
    if (!text.startsWith('<![CDATA[', markup)) return refuseMarkup(text, markup, 'nested')
    const end = text.indexOf(']]>', markup + 9)
    if (end === -1) return 'shape'
    at = end + 3
  }
}

function scanClosingTag(text: string, at: number, name: string): Step {
  if (!text.startsWith(name, at + 2)) return 'shape'
  const end = skipSpace(text, at + 2 + name.length)
  return text[end] === '>' ? end + 1 : 'shape'
}

function findTextFault(text: string): XmlRefusal | undefined {
  if (text.includes(']]>')) return 'shape'
  if (!text.includes('&')) return undefined
  return text.replace(REFERENCE, '').includes('&') || !isLegalText(decodeReferences(text)) ? 'entity' : undefined
}

/** A word for markup that has no place at `at`; `element` is what to call it if it is a start tag. */
function refuseMarkup(text: string, at: number, element: XmlRefusal): XmlRefusal {
  if (/^<!(?:doctype|entity)/i.test(text.slice(at, at + 9))) return 'doctype'
  return isNameStart(text.charCodeAt(at + 1)) ? element : 'shape'
}

function skipSpace(text: string, start: number): number {
  let at = start
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

function skipName(text: string, start: number): number {
  if (!isNameStart(text.charCodeAt(start))) return start
  let at = start + 1
  while (isNameStart(text.charCodeAt(at)) || isDigit(text.charCodeAt(at))) at++
  return at
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

// One pass, so that `&amp;lt;` is `&lt;` and never `<`.
function decodeReferences(text: string): string {
  return text.replace(REFERENCE, (reference) => ENTITIES[reference] ?? decodeCharacter(reference))
}

function decodeCharacter(reference: string): string {
  const isHex = reference[2] === 'x'
  const code = Number.parseInt(reference.slice(isHex ? 3 : 2), isHex ? 16 : 10)
  const isCharacter = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
  return isCharacter ? String.fromCodePoint(code) : ILLEGAL_CHARACTER
}

// fast-xml-parser, used as a reader of events: every callback says "do not keep this", so no tree is built (a third of
// its time), and the fields are collected on the way. One parser serves all calls, as parsing is synchronous and every
// call starts with a map of its own.
let fields = new Map<string, string>()

const parser = new XMLParser({
  preserveOrder: true,
  parseTagValue: false,
  trimValues: false,
  jPath: false,
  onDangerousProperty: (name) => name,
  entityDecoder: {
    decode: (text) => (text.includes('&') ? decodeReferences(text) : text),
    reset: ignore,
    setXmlVersion: ignore,
    addInputEntities: ignore,
    setExternalEntities: ignore
  },
  updateTag(name, path) {
    if (isField(path)) fields.set(name, '')
    return false
  },
  tagValueProcessor(name, value, path) {
    if (isField(path)) fields.set(name, fields.get(name) + value)
  }
})

function readFields(text: string): ReadonlyMap<string, string> {
  fields = new Map()
  parser.parse(text)
  return fields
}

/**
 * False for the root, whose text is the white space between elements. `jPath: false` is what makes the path a
 * MatcherView.
 */
function isField(path: string | MatcherView): boolean {
  return (path as MatcherView).getDepth() === 2
}

function ignore(): void {}
