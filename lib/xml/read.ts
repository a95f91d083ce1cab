/**
 * Reads XML that comes from strangers, flat and nested messages in one walk. Nothing is ever expanded or fetched
 * (CVE-2018-13439 is why): DOCTYPE and entities are refused. Each step starts where the last one ended, so the time
 * grows with the size and with nothing else.
 */
import { isUtf8 } from 'node:buffer'
import { addField, cleanName, decodeReferences, hasOnlyReferences, isLegalText, RESERVED_NAMES } from './text.ts'
import { readValues } from './values.ts'

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
  /** A reference to anything but XML's five entities and its characters; in a flat message a bare ampersand, too. */
  | 'entity'
  /** Anything else: another root, text between elements, a comment, an unclosed element. */
  | 'shape'

/** Text, an object without prototype for an element that holds others, and a list where an element repeats. */
export type XmlValue = string | XmlValue[] | { [name: string]: XmlValue }
export type XmlFields = { [name: string]: XmlValue }

export type FlatXml =
  | { status: 'parsed'; fields: ReadonlyMap<string, string> }
  | { status: 'refused'; reason: XmlRefusal }

export interface FlatXmlOptions {
  /** `root` inside the req_info of refund notices, else `xml`. */
  root?: 'xml' | 'root'
  maxBytes?: number
}

export type NestedXml = { status: 'parsed'; fields: XmlFields } | { status: 'refused'; reason: XmlRefusal }

/** Four times what a real notice can reach. */
export const MAX_XML_BYTES = 64 * 1024

/**
 * Reads one flat message: text elements below the root, each once, and nothing else (no attribute, nesting or comment).
 * Values come as written: untrimmed, digits as text, references decoded once; line ends become `\n`. Never throws.
 */
export function parseFlatXml(body: Buffer, { root = 'xml', maxBytes = MAX_XML_BYTES }: FlatXmlOptions = {}): FlatXml {
  const message = flatMessage(body, maxBytes)
  const read = 'reason' in message ? message.reason : new XmlWalk(message.text, root, true).read()
  if (typeof read === 'string') return { status: 'refused', reason: read }
  return { status: 'parsed', fields: new Map(Object.entries(read as Record<string, string>)) }
}

/** Reads WeChat's answer to a call of ours. What is refused is the same; fast-xml-parser gives the values. */
export function parseAnswerXml(body: Buffer, { maxBytes = MAX_XML_BYTES }: FlatXmlOptions = {}): FlatXml {
  const message = flatMessage(body, maxBytes)
  const read = 'reason' in message ? message.reason : new XmlWalk(message.text, 'xml', true).read()
  if (typeof read === 'string' || 'reason' in message) return { status: 'refused', reason: read as XmlRefusal }
  return { status: 'parsed', fields: readValues(message.text) }
}

function flatMessage(body: Buffer, maxBytes: number): { text: string } | { reason: XmlRefusal } {
  if (body.length > maxBytes) return { reason: 'size' }
  if (!isUtf8(body)) return { reason: 'encoding' }
  const text = body.toString('utf8')
  const start = isLegalText(text) ? skipDeclaration(text) : 'character'
  return typeof start === 'string' ? { reason: start } : { text: withLineFeeds(text.slice(start)) }
}

/**
 * Reads one nested message, which may hold what users typed: whatever has one meaning is read, whatever its characters
 * are. What repeats is a list; comments, processing instructions and attributes are passed over. Never throws.
 */
export function parseNestedXml(text: string): NestedXml {
  const read = text.length > MOST_CHARACTERS ? 'size' : new XmlWalk(withLineFeeds(text), 'xml', false).read()
  return typeof read === 'string' ? { status: 'refused', reason: read } : { status: 'parsed', fields: read }
}

/** As XML 1.0 (section 2.11) wants. */
const withLineFeeds = (text: string): string => text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')

/** Where the next step starts, or why there is none. */
type Step = number | XmlRefusal

interface Element {
  /** As written. */
  name: string
  text: string
  /** undefined until the first one opens. */
  children: XmlFields | undefined
  /** Of the children that repeat. */
  lists: Map<string, XmlValue[]>
}

/** The body limit of message push. */
const MOST_CHARACTERS = 1024 * 1024
/** A notice of WeChat Pay has about 20 fields, and three for each coupon. */
const MOST_FIELDS = 1024
/** Tags, stretches of text and references of a nested message: events have some dozens of elements, of four parts. */
const MOST_PARTS = 16_384
const MAX_DEPTH = 8
/** Where an element holds elements and text beside them; no element can be called so. */
const TEXT_NAME = '#text'
const BLANK = /^[ \t\n]*$/
const PLAIN_NAME = /[A-Za-z_][A-Za-z0-9_]*/y
/** Names of any script, with dots and colons. */
const ANY_NAME = /[^ \t\n<>/=&'"!?#]+/y
const ATTRIBUTE = /[ \t\n]*[^ \t\n<>/=&'"]+[ \t\n]*=[ \t\n]*(?:"([^"<]*)"|'([^'<]*)')/y
const ENTITY = /&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z_:\u0080-\uffff][\w:.\u0080-\uffff-]*;/
const NUL = '\0'
const DECLARATION = buildDeclarationPattern()

const elementOf = (name: string): Element => ({ name, text: '', children: undefined, lists: new Map() })

class XmlWalk {
  readonly #text: string
  readonly #isFlat: boolean
  readonly #root: Element
  /** From the root to the element that is open now. */
  readonly #open: Element[]
  #parts = 0
  #fields = 0

  /** Line ends of `text` are `\n`. */
  constructor(text: string, root: string, isFlat: boolean) {
    this.#text = text
    this.#isFlat = isFlat
    this.#root = elementOf(root)
    this.#root.children = Object.create(null) as XmlFields
    this.#open = [this.#root]
  }

  /** What the root holds: names clean, values as written, references decoded once. Never throws. */
  read(): XmlFields | XmlRefusal {
    let at = this.#openRoot(this.#skipAround(0))
    while (typeof at === 'number' && this.#open.length > 0) at = this.#step(at)
    const end = this.#skipAround(at)
    if (typeof end === 'string') return end
    return end === this.#text.length ? (this.#root.children as XmlFields) : 'shape'
  }

  #openRoot(at: Step): Step {
    if (typeof at === 'string') return at
    const name = this.#nameAt(at)
    if (name !== this.#root.name) return this.#wordFor(at)
    const end = this.#skipAttributes(at + 1 + name.length, '>')
    if (typeof end === 'string') return end
    return this.#text[end] === '>' ? end + 1 : 'shape'
  }

  /** One tag, or one stretch of text. */
  #step(at: number): Step {
    const current = this.#open.at(-1) as Element
    this.#parts += 1
    if (!this.#isFlat && this.#parts > MOST_PARTS) return 'size'
    const isBetween = this.#isFlat && current === this.#root
    if (this.#text[at] !== '<') return isBetween ? this.#readBlank(at) : this.#readText(at, current)
    if (this.#text.startsWith('</', at)) return this.#close(at, current)
    if (this.#text.startsWith('<![CDATA[', at) && !isBetween) return this.#readCdata(at, current)
    if (!this.#isFlat && this.#text.startsWith('<!--', at)) return this.#past('-->', at + 4)
    if (!this.#isFlat && this.#text.startsWith('<?', at)) return this.#past('?>', at + 2)
    return this.#openElement(at, current)
  }

  #readBlank(at: number): Step {
    const end = this.#skipSpace(at)
    return this.#text[end] === '<' ? end : 'shape'
  }

  #readText(at: number, current: Element): Step {
    const end = this.#text.indexOf('<', at)
    if (end === -1) return 'shape'
    const stretch = this.#text.slice(at, end)
    if (stretch.includes('&')) {
      this.#parts += stretch.split('&').length - 1
      if (!this.#isFlat && this.#parts > MOST_PARTS) return 'size'
    }
    const problem = this.#textProblem(stretch)
    if (problem !== undefined) return problem
    current.text += decodeReferences(stretch)
    return end
  }

  #textProblem(text: string): XmlRefusal | undefined {
    if (this.#isFlat && text.includes(']]>')) return 'shape'
    if (!text.includes('&')) return undefined
    if (this.#isFlat) return hasOnlyReferences(text) && isLegalText(decodeReferences(text)) ? undefined : 'entity'
    if (hasOnlyReferences(text)) return undefined
    return ENTITY.test(text) ? 'entity' : 'shape'
  }

  #readCdata(at: number, current: Element): Step {
    const end = this.#text.indexOf(']]>', at + 9)
    if (end === -1) return 'shape'
    current.text += this.#text.slice(at + 9, end)
    return end + 3
  }

  #openElement(at: number, parent: Element): Step {
    const name = this.#nameAt(at)
    if (name === undefined) return this.#wordFor(at)
    const refusal = this.#isFlat ? this.#flatRefusal(name, parent) : undefined
    if (refusal !== undefined) return refusal
    if (this.#open.length > MAX_DEPTH) return 'size'
    const end = this.#skipAttributes(at + 1 + name.length, '/>')
    if (typeof end === 'string') return end
    if (this.#text.startsWith('/>', end)) {
      this.#add(parent, name, '')
      return end + 2
    }
    if (this.#text[end] !== '>') return 'shape'
    this.#open.push(elementOf(name))
    return end + 1
  }

  #flatRefusal(name: string, parent: Element): XmlRefusal | undefined {
    if (parent !== this.#root) return 'nested'
    if (RESERVED_NAMES.has(name)) return 'name'
    if (Object.hasOwn(parent.children as XmlFields, name)) return 'duplicate'
    this.#fields += 1
    return this.#fields > MOST_FIELDS ? 'size' : undefined
  }

  #close(at: number, element: Element): Step {
    const { name } = element
    if (!this.#text.startsWith(name, at + 2)) return 'shape'
    const end = this.#skipSpace(at + 2 + name.length)
    if (this.#text[end] !== '>') return 'shape'
    this.#open.pop()
    if (element.children !== undefined && !BLANK.test(element.text)) this.#add(element, TEXT_NAME, element.text)
    const parent = this.#open.at(-1)
    if (parent !== undefined) this.#add(parent, name, element.children ?? element.text)
    return end + 1
  }

  #add(parent: Element, name: string, value: XmlValue): void {
    parent.children ??= Object.create(null) as XmlFields
    addField(parent.children, parent.lists, cleanName(name), value)
  }

  /**
   * What may stand around the root: white space; around that of a nested message NULs, comments and processing
   * instructions, too, an XML declaration among them.
   */
  #skipAround(start: Step): Step {
    let at = start
    while (typeof at === 'number') {
      at = this.#skipSpace(at)
      if (this.#isFlat) return at
      if (this.#text[at] === NUL) at += 1
      else if (this.#text.startsWith('<!--', at)) at = this.#past('-->', at + 4)
      else if (this.#text.startsWith('<?', at)) at = this.#past('?>', at + 2)
      else return at
    }
    return at
  }

  /** They say nothing that WeChat's messages need. A flat message has none: its tag goes on to `>` or `tagEnd`. */
  #skipAttributes(start: number, tagEnd: '>' | '/>'): Step {
    if (this.#isFlat) {
      const end = this.#skipSpace(start)
      return end === start || this.#text[end] === '>' || this.#text.startsWith(tagEnd, end) ? end : 'attribute'
    }
    for (let at = start; ; ) {
      ATTRIBUTE.lastIndex = at
      const [whole, one, other] = ATTRIBUTE.exec(this.#text) ?? []
      if (whole === undefined) return this.#skipSpace(at)
      const problem = this.#textProblem(one ?? other ?? '')
      if (problem !== undefined) return problem
      at += whole.length
    }
  }

  #past(end: string, at: number): Step {
    const found = this.#text.indexOf(end, at)
    return found === -1 ? 'shape' : found + end.length
  }

  #skipSpace(start: number): number {
    let at = start
    while (isSpace(this.#text.charCodeAt(at))) at++
    return at
  }

  /** Of the tag that begins at `at`. */
  #nameAt(at: number): string | undefined {
    const name = this.#isFlat ? PLAIN_NAME : ANY_NAME
    name.lastIndex = at + 1
    return this.#text[at] === '<' ? name.exec(this.#text)?.[0] : undefined
  }

  #wordFor(at: number): XmlRefusal {
    return /^<!(?:doctype|entity)/i.test(this.#text.slice(at, at + 9)) ? 'doctype' : 'shape'
  }
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x09

/** Past a byte order mark and an XML declaration, where there are any. */
function skipDeclaration(text: string): Step {
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
