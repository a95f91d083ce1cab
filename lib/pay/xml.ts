/**
 * The XML of WeChat Pay APIv2: one flat element of text elements, read and written.
 *
 * The reader stands at a public door, before any signature was checked, so it takes this shape and nothing else (no
 * DOCTYPE, entity, attribute, nesting, comment; CVE-2018-13439 is why). A strict scan decides, and only what passed it
 * reaches fast-xml-parser, which by itself would take unclosed, doubled and entity-laden messages. Both walk the text
 * once: time grows with the size and with nothing else.
 */
import { type MatcherView, XMLParser } from 'fast-xml-parser'
import {
  decodeReferences,
  findTextFault,
  isLegalText,
  quoteCdata,
  RESERVED_NAMES,
  readLegalText,
  refuseMarkup,
  type Step,
  scanClosingTag,
  scanDeclaration,
  scanEnd,
  scanRootTag,
  skipName,
  skipSpace,
  type XmlRefusal
} from '../xml/scan.ts'

export type { XmlRefusal }

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

/** A notice has about 20, and three for each coupon. */
const MAX_FIELDS = 1024
const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/**
 * Reads one flat message. Values come as written: untrimmed, digits as text, references decoded once; only line ends
 * become `\n`, as XML 1.0 (section 2.11) wants. Never throws, expands or fetches anything.
 */
export function parseFlatXml(body: Buffer, { root = 'xml', maxBytes = MAX_XML_BYTES }: FlatXmlOptions = {}): FlatXml {
  const read = readLegalText(body, maxBytes)
  if (typeof read === 'string') return refused(read)
  const { text } = read
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
    xml += `<${name}>${quoteCdata(value)}</${name}>`
  }
  return `${xml}</xml>`
}

function refused(reason: XmlRefusal): FlatXml {
  return { status: 'refused', reason }
}

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
    decode: decodeReferences,
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
