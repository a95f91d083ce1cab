/** The XML of message push: as strict as that of payments, but its elements nest, and lists are repeated elements. */
import {
  decodeReferences,
  findTextFault,
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

/** Text, an object without prototype for an element that holds others, and a list where such an element repeats. */
export type XmlValue = string | XmlValue[] | { [name: string]: XmlValue }
export type XmlFields = { [name: string]: XmlValue }

export type NestedXml = { status: 'parsed'; fields: XmlFields } | { status: 'refused'; reason: XmlRefusal }

/** The body limit of the door. */
const MAX_BYTES = 1024 * 1024
/** Tags, stretches of text and references: events have some dozens of elements, with four parts each. */
const MAX_PARTS = 16_384
const MAX_DEPTH = 8
const BLANK = /^[ \t\n]*$/

interface Element {
  name: string
  text: string
  /** undefined until the first one opens. */
  children: XmlFields | undefined
}

interface Walk {
  text: string
  /** From the root to the element that is open now. */
  open: Element[]
  parts: number
}

/**
 * Reads one message. Values are text as written, references decoded once, line ends as `\n`. What stands directly in
 * the root and holds text, such as MsgId, must not repeat; all else that repeats is a list. Never throws, expands or
 * fetches anything, and walks the text once.
 */
export function parseNestedXml(body: Buffer): NestedXml {
  const read = readLegalText(body, MAX_BYTES)
  if (typeof read === 'string') return { status: 'refused', reason: read }
  const text = read.text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')
  const root: Element = { name: 'xml', text: '', children: Object.create(null) }
  const end = walk({ text, open: [root], parts: 0 })
  if (typeof end === 'string') return { status: 'refused', reason: end }
  return { status: 'parsed', fields: root.children ?? {} }
}

function walk(state: Walk): Step {
  const start = scanDeclaration(state.text)
  if (typeof start === 'string') return start
  let at = scanRootTag(state.text, skipSpace(state.text, start), 'xml')
  while (typeof at === 'number' && state.open.length > 0) at = step(state, at)
  return at
}

/** One tag, or one stretch of text. */
function step(state: Walk, at: number): Step {
  const { text, open } = state
  const current = open.at(-1) as Element
  state.parts += 1
  if (state.parts > MAX_PARTS) return 'size'
  if (text[at] !== '<') return readText(state, at, current)
  if (text.startsWith('</', at)) return close(state, at, current)
  if (text.startsWith('<![CDATA[', at) && open.length > 1) return readCdata(text, at, current)
  return openElement(state, at, current)
}

function readText(state: Walk, at: number, current: Element): Step {
  const end = state.text.indexOf('<', at)
  if (end === -1) return 'shape'
  const stretch = state.text.slice(at, end)
  state.parts += stretch.split('&').length - 1
  if (state.parts > MAX_PARTS) return 'size'
  const fault = findTextFault(stretch)
  if (fault !== undefined) return fault
  current.text += decodeReferences(stretch)
  return end
}

function readCdata(text: string, at: number, current: Element): Step {
  const end = text.indexOf(']]>', at + 9)
  if (end === -1) return 'shape'
  current.text += text.slice(at + 9, end)
  return end + 3
}

function openElement(state: Walk, at: number, parent: Element): Step {
  const { text, open } = state
  const nameEnd = skipName(text, at + 1)
  if (nameEnd === at + 1) return refuseMarkup(text, at, 'shape')
  const name = text.slice(at + 1, nameEnd)
  if (RESERVED_NAMES.has(name)) return 'name'
  if (open.length > MAX_DEPTH) return 'size'
  const end = skipSpace(text, nameEnd)
  if (text.startsWith('/>', end)) return add(parent, name, '', open.length === 1) ?? end + 2
  if (text[end] !== '>') return end > nameEnd ? 'attribute' : 'shape'
  parent.children ??= Object.create(null) as XmlFields
  open.push({ name, text: '', children: undefined })
  return end + 1
}

function close({ text, open }: Walk, at: number, element: Element): Step {
  const { name, children } = element
  if (children !== undefined && !BLANK.test(element.text)) return 'shape'
  open.pop()
  const parent = open.at(-1)
  if (parent === undefined) return scanEnd(text, at, name)
  const end = scanClosingTag(text, at, name)
  if (typeof end === 'string') return end
  return add(parent, name, children ?? element.text, open.length === 1) ?? end
}

function add(parent: Element, name: string, value: XmlValue, inRoot: boolean): XmlRefusal | undefined {
  parent.children ??= Object.create(null) as XmlFields
  const before = parent.children[name]
  if (before === undefined) parent.children[name] = value
  else if (inRoot && (typeof before === 'string' || typeof value === 'string')) return 'duplicate'
  else if (Array.isArray(before)) before.push(value)
  else parent.children[name] = [before, value]
  return undefined
}
