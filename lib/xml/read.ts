/**
 * Reads XML that comes from strangers, flat and nested messages. Nothing is ever expanded or fetched (CVE-2018-13439 is
 * why): DOCTYPE and entities are refused.
 */
import { isUtf8 } from 'node:buffer'
import { isLegalText } from './text.ts'
import { readValues } from './values.ts'
import { type XmlFields, type XmlRefusal, XmlWalk } from './walk.ts'

export type FlatXml =
  | { status: 'parsed'; fields: ReadonlyMap<string, string> }
  | { status: 'refused'; reason: XmlRefusal }

export interface FlatXmlOptions {
  /** `root` inside the req_info of refund notices, else `xml`. */
  root?: 'xml' | 'root'
  maxBytes?: number
}

export type NestedXml = { status: 'parsed'; fields: XmlFields } | { status: 'refused'; reason: XmlRefusal }

/** The body limit of message push. */
const MOST_CHARACTERS = 1024 * 1024
/** Four times what a real notice can reach. */
export const MAX_XML_BYTES = 64 * 1024

/**
 * Reads one flat message: text elements below the root, each once, and nothing else (no attribute, nesting or comment).
 * Values come as written: untrimmed, digits as text, references decoded once; line ends become `\n`. Never throws.
 */
export function parseFlatXml(body: Buffer, { root = 'xml', maxBytes = MAX_XML_BYTES }: FlatXmlOptions = {}): FlatXml {
  return readFlat(body, { root, maxBytes }, ({ fields }) => fields)
}

/** Reads WeChat's answer to a call of ours. What is refused is the same; fast-xml-parser gives the values. */
export function parseAnswerXml(body: Buffer, { maxBytes = MAX_XML_BYTES }: FlatXmlOptions = {}): FlatXml {
  return readFlat(body, { root: 'xml', maxBytes }, (_walk, text) => readValues(text))
}

function readFlat(
  body: Buffer,
  { root, maxBytes }: Required<FlatXmlOptions>,
  fieldsOf: (walk: XmlWalk, text: string) => ReadonlyMap<string, string>
): FlatXml {
  if (body.length > maxBytes) return { status: 'refused', reason: 'size' }
  if (!isUtf8(body)) return { status: 'refused', reason: 'encoding' }
  const written = body.toString('utf8')
  const start = isLegalText(written) ? skipDeclaration(written) : 'character'
  if (typeof start === 'string') return { status: 'refused', reason: start }
  const text = withLineFeeds(written.slice(start))
  const walk = new XmlWalk(text, root, true)
  const reason = walk.read()
  return reason === undefined ? { status: 'parsed', fields: fieldsOf(walk, text) } : { status: 'refused', reason }
}

/**
 * Reads one nested message, which may hold what users typed: whatever has one meaning is read, whatever its characters
 * are. What repeats is a list; comments, processing instructions and attributes are passed over. Never throws.
 */
export function parseNestedXml(text: string): NestedXml {
  if (text.length > MOST_CHARACTERS) return { status: 'refused', reason: 'size' }
  const walk = new XmlWalk(withLineFeeds(text), 'xml', false)
  const reason = walk.read()
  return reason === undefined ? { status: 'parsed', fields: walk.tree } : { status: 'refused', reason }
}

/** As XML 1.0 (section 2.11) wants. */
const withLineFeeds = (text: string): string => text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')

const DECLARATION = buildDeclarationPattern()

/** Past a byte order mark and an XML declaration, where there are any. */
function skipDeclaration(text: string): number | XmlRefusal {
  const start = text.startsWith('\ufeff') ? 1 : 0
  if (!text.startsWith('<?', start)) return start
  DECLARATION.lastIndex = start
  const declaration = DECLARATION.exec(text)?.[0]
  if (declaration === undefined) return 'shape'
  const isForeign = declaration.includes('encoding') && !/["']utf-8["']/i.test(declaration)
  return isForeign ? 'encoding' : DECLARATION.lastIndex
}

/** Version 1.0 only: 1.1 has other line ends and other legal characters. */
function buildDeclarationPattern(): RegExp {
  const space = '[ \\t\\r\\n]'
  const part = (name: string, value: string) => `${space}+${name}${space}*=${space}*(?:"${value}"|'${value}')`
  const optional = `(?:${part('encoding', '[A-Za-z0-9._-]+')})?(?:${part('standalone', '(?:yes|no)')})?`
  return new RegExp(`<\\?xml${part('version', '1\\.0')}${optional}${space}*\\?>`, 'y')
}
