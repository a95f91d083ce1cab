/**
 * The strict walk through a message in XML, flat or nested: what it takes is read. Each step starts where the last one
 * ended, so the time grows with the size and with nothing else.
 */
import { addField, cleanName, decodeReferences, hasOnlyReferences, isLegalText, RESERVED_NAMES } from './text.ts'

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

/** Where the next step starts, or why there is none. */
type Step = number | XmlRefusal

interface Element {
  /** As written. */
  name: string
  text: string
  /** Of a nested message. undefined until the first one opens. */
  children: XmlFields | undefined
  /** Of the children that repeat. */
  lists: Map<string, XmlValue[]> | undefined
}

/** A notice of WeChat Pay has about 20 fields, and three for each coupon. */
const MOST_FIELDS = 1024
/** Tags, stretches of text and references of a nested message: events have some dozens of elements, of four parts. */
const MOST_PARTS = 16_384
const MAX_DEPTH = 8
/** Where an element holds elements and text beside them; no element can be called so. */
const TEXT_NAME = '#text'
const BLANK = /^[ \t\n]*$/
const PLAIN_NAME = /[A-Za-z_][A-Za-z0-9_]*/y
/** Names of any script, with dots and colons; none begins with a digit or a sign, so that `<3` is no tag. */
const ANY_NAME = /[A-Za-z_:\u0080-\uffff][^ \t\n<>/=&'"!?#]*/y
const ATTRIBUTE = /[ \t\n]*[^ \t\n<>/=&'"]+[ \t\n]*=[ \t\n]*(?:"([^"<]*)"|'([^'<]*)')/y
const ENTITY = /&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z_:\u0080-\uffff][\w:.\u0080-\uffff-]*;/
const NUL = '\0'

const elementOf = (name: string): Element => ({ name, text: '', children: undefined, lists: undefined })

export class XmlWalk {
  /** Of a flat message: each field with its text. */
  readonly fields = new Map<string, string>()
  readonly #text: string
  readonly #isFlat: boolean
  readonly #root: Element
  /** From the root to the element that is open now. */
  readonly #open: Element[]
  #parts = 0

  /** Line ends of `text` are `\n`. */
  constructor(text: string, root: string, isFlat: boolean) {
    this.#text = text
    this.#isFlat = isFlat
    this.#root = elementOf(root)
    if (!isFlat) this.#root.children = Object.create(null) as XmlFields
    this.#open = [this.#root]
  }

  /** Of a nested message: what its root holds, names clean. */
  get tree(): XmlFields {
    return this.#root.children as XmlFields
  }

  /**
   * Why the message is refused; undefined where it is read. Values come as written, references decoded once. To be
   * called once. Never throws.
   */
  read(): XmlRefusal | undefined {
    let at = this.#openRoot(this.#skipAround(0))
    while (typeof at === 'number' && this.#open.length > 0) at = this.#step(at)
    const end = this.#skipAround(at)
    if (typeof end === 'string') return end
    return end === this.#text.length ? undefined : this.#wordFor(end)
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

  /** What begins at `at`, which in a nested message may be a `<`: users type `1 < 2`, and no tag begins so. */
  #readText(at: number, current: Element): Step {
    const end = this.#text.indexOf('<', at + 1)
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

  /** In a nested message an ampersand that begins no reference is text, too: it has no other meaning. */
  #textProblem(text: string): XmlRefusal | undefined {
    if (this.#isFlat && text.includes(']]>')) return 'shape'
    if (!text.includes('&')) return undefined
    if (!this.#isFlat) return ENTITY.test(text) ? 'entity' : undefined
    return hasOnlyReferences(text) && isLegalText(decodeReferences(text)) ? undefined : 'entity'
  }

  #readCdata(at: number, current: Element): Step {
    const end = this.#text.indexOf(']]>', at + 9)
    if (end === -1) return 'shape'
    current.text += this.#text.slice(at + 9, end)
    return end + 3
  }

  #openElement(at: number, parent: Element): Step {
    const name = this.#nameAt(at)
    if (name === undefined)
      return this.#isFlat || this.#text[at + 1] === '!' ? this.#wordFor(at) : this.#readText(at, parent)
    const refusal = this.#isFlat ? this.#flatRefusal(name, parent) : undefined
    if (refusal !== undefined) return refusal
    if (this.#open.length > MAX_DEPTH) return 'size'
    const end = this.#skipAttributes(at + 1 + name.length, '/>')
    if (typeof end === 'string') return end
    if (this.#text.startsWith('/>', end)) {
      this.#keep(parent, name, '')
      return end + 2
    }
    if (this.#text[end] !== '>') return 'shape'
    this.#open.push(elementOf(name))
    return end + 1
  }

  #flatRefusal(name: string, parent: Element): XmlRefusal | undefined {
    if (parent !== this.#root) return 'nested'
    if (RESERVED_NAMES.has(name)) return 'name'
    if (this.fields.has(name)) return 'duplicate'
    return this.fields.size >= MOST_FIELDS ? 'size' : undefined
  }

  #close(at: number, element: Element): Step {
    const { name } = element
    if (!this.#text.startsWith(name, at + 2)) return 'shape'
    const end = this.#skipSpace(at + 2 + name.length)
    if (this.#text[end] !== '>') return 'shape'
    this.#open.pop()
    if (element.children !== undefined && !BLANK.test(element.text)) this.#add(element, TEXT_NAME, element.text)
    const parent = this.#open.at(-1)
    if (parent !== undefined) this.#keep(parent, name, element.children ?? element.text)
    return end + 1
  }

  #keep(parent: Element, name: string, value: XmlValue): void {
    if (this.#isFlat) this.fields.set(name, String(value))
    else this.#add(parent, cleanName(name), value)
  }

  #add(parent: Element, name: string, value: XmlValue): void {
    parent.children ??= Object.create(null) as XmlFields
    parent.lists ??= new Map()
    addField(parent.children, parent.lists, name, value)
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
