/**
 * The XML of message push. It nests, and it is not always good XML: WeChat passes on what users typed. So all is read
 * that has one meaning, whatever its characters are; DOCTYPE and entities are not, and nothing is ever expanded or
 * fetched.
 */
import { decodeReferences, skipSpace } from '../xml/scan.ts'
import { addField, cleanName } from './clean.ts'

/** Text, an object without prototype for an element that holds others, and a list where an element repeats. */
export type XmlValue = string | XmlValue[] | { [name: string]: XmlValue }
export type XmlFields = { [name: string]: XmlValue }

/** Why a message was not read. */
export type XmlProblem =
  /** Too many bytes, elements or references, or elements too deep in each other. */
  | 'size'
  | 'doctype'
  /** A reference to anything but XML's five entities and a character. */
  | 'entity'
  /** Anything else: another root, an unclosed element, a bare ampersand. */
  | 'shape'

export type NestedXml = { status: 'parsed'; fields: XmlFields } | { status: 'refused'; reason: XmlProblem }

/** The body limit of the door. */
const MAX_CHARACTERS = 1024 * 1024
/** Tags, stretches of text and references: events have some dozens of elements, with four parts each. */
const MAX_PARTS = 16_384
const MAX_DEPTH = 8
const ROOT = 'xml'
/** Where an element holds elements and text beside them; no element can be called so. */
const TEXT_NAME = '#text'
const BLANK = /^[ \t\n]*$/
/** Names of any script, with dots and colons. */
const NAME = /[^ \t\n<>/=&'"!?#]+/y
const ATTRIBUTE = /[ \t\n]*[^ \t\n<>/=&'"]+[ \t\n]*=[ \t\n]*(?:"([^"<]*)"|'([^'<]*)')/y
const NO_REFERENCE = /&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)/
const ENTITY = /&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z_:\u0080-\uffff][\w:.\u0080-\uffff-]*;/
const NUL = '\0'

/** Where the next step starts, or why there is none. */
type Step = number | XmlProblem

interface Element {
  /** As written. */
  name: string
  text: string
  /** undefined until the first one opens. */
  children: XmlFields | undefined
  /** Of the children that repeat. */
  lists: Map<string, XmlValue[]> | undefined
}

interface Walk {
  text: string
  /** From the root to the element that is open now. */
  open: Element[]
  parts: number
}

/**
 * Reads one message; names come clean, values as written, references decoded once, line ends as `\n`. What repeats is a
 * list. Comments, processing instructions and attributes are passed over. Never throws, and walks the text once.
 */
export function parseNestedXml(written: string): NestedXml {
  const text = written.replaceAll('\r\n', '\n').replaceAll('\r', '\n')
  const root = elementOf(ROOT)
  root.children = Object.create(null) as XmlFields
  const end = text.length > MAX_CHARACTERS ? 'size' : walk({ text, open: [root], parts: 0 })
  if (typeof end === 'string') return { status: 'refused', reason: end }
  return { status: 'parsed', fields: root.children }
}

const elementOf = (name: string): Element => ({ name, text: '', children: undefined, lists: undefined })

function walk(state: Walk): Step {
  const { text } = state
  const start = skipMarkup(text, 0)
  let at = typeof start === 'string' ? start : openRoot(text, start)
  while (typeof at === 'number' && state.open.length > 0) at = step(state, at)
  const end = typeof at === 'string' ? at : skipMarkup(text, at)
  return end === text.length || typeof end === 'string' ? end : 'shape'
}

function openRoot(text: string, at: number): Step {
  const name = nameAt(text, at + 1)
  if (text[at] !== '<' || name !== ROOT) return wordFor(text, at)
  const end = skipAttributes(text, at + 1 + name.length)
  return typeof end === 'number' && text[end] !== '>' ? 'shape' : next(end, 1)
}

/** One tag, or one stretch of text. */
function step(state: Walk, at: number): Step {
  const { text, open } = state
  const current = open.at(-1) as Element
  state.parts += 1
  if (state.parts > MAX_PARTS) return 'size'
  if (text[at] !== '<') return readText(state, at, current)
  if (text.startsWith('</', at)) return close(state, at, current)
  if (text.startsWith('<![CDATA[', at)) return readCdata(text, at, current)
  if (text.startsWith('<!--', at)) return past(text, '-->', at + 4)
  if (text.startsWith('<?', at)) return past(text, '?>', at + 2)
  return openElement(state, at, current)
}

function readText(state: Walk, at: number, current: Element): Step {
  const end = state.text.indexOf('<', at)
  if (end === -1) return 'shape'
  const stretch = state.text.slice(at, end)
  state.parts += stretch.split('&').length - 1
  if (state.parts > MAX_PARTS) return 'size'
  const problem = referenceProblem(stretch)
  if (problem !== undefined) return problem
  current.text += decodeReferences(stretch)
  return end
}

function readCdata(text: string, at: number, current: Element): Step {
  const end = text.indexOf(']]>', at + 9)
  if (end === -1) return 'shape'
  current.text += text.slice(at + 9, end)
  return end + 3
}

function openElement({ text, open }: Walk, at: number, parent: Element): Step {
  const name = nameAt(text, at + 1)
  if (name === undefined) return wordFor(text, at)
  if (open.length > MAX_DEPTH) return 'size'
  const end = skipAttributes(text, at + 1 + name.length)
  if (typeof end === 'string') return end
  if (text.startsWith('/>', end)) {
    add(parent, name, '')
    return end + 2
  }
  if (text[end] !== '>') return 'shape'
  open.push(elementOf(name))
  return end + 1
}

function close({ text, open }: Walk, at: number, element: Element): Step {
  const { name } = element
  if (!text.startsWith(name, at + 2)) return 'shape'
  const end = skipSpace(text, at + 2 + name.length)
  if (text[end] !== '>') return 'shape'
  open.pop()
  if (element.children !== undefined && !BLANK.test(element.text)) add(element, TEXT_NAME, element.text)
  const parent = open.at(-1)
  if (parent !== undefined) add(parent, name, element.children ?? element.text)
  return end + 1
}

function add(parent: Element, name: string, value: XmlValue): void {
  parent.children ??= Object.create(null) as XmlFields
  parent.lists ??= new Map()
  addField(parent.children, parent.lists, cleanName(name), value)
}

/**
 * What may stand around the root: white space, NULs, comments and processing instructions, an XML declaration among
 * them.
 */
function skipMarkup(text: string, start: number): Step {
  let at: Step = start
  while (typeof at === 'number') {
    at = skipSpace(text, at)
    if (text[at] === NUL) at += 1
    else if (text.startsWith('<!--', at)) at = past(text, '-->', at + 4)
    else if (text.startsWith('<?', at)) at = past(text, '?>', at + 2)
    else return at
  }
  return at
}

/** They say nothing that WeChat's messages need. */
function skipAttributes(text: string, start: number): Step {
  let at = start
  if (text[at] === '>') return at
  for (;;) {
    ATTRIBUTE.lastIndex = at
    const [whole, one, other] = ATTRIBUTE.exec(text) ?? []
    if (whole === undefined) return skipSpace(text, at)
    const problem = referenceProblem(one ?? other ?? '')
    if (problem !== undefined) return problem
    at += whole.length
  }
}

function past(text: string, end: string, at: number): Step {
  const found = text.indexOf(end, at)
  return found === -1 ? 'shape' : found + end.length
}

const next = (step: Step, length: number): Step => (typeof step === 'number' ? step + length : step)

function nameAt(text: string, at: number): string | undefined {
  NAME.lastIndex = at
  return NAME.exec(text)?.[0]
}

const wordFor = (text: string, at: number): XmlProblem =>
  /^<!(?:doctype|entity)/i.test(text.slice(at, at + 9)) ? 'doctype' : 'shape'

function referenceProblem(text: string): XmlProblem | undefined {
  if (!text.includes('&') || !NO_REFERENCE.test(text)) return undefined
  return ENTITY.test(text) ? 'entity' : 'shape'
}
