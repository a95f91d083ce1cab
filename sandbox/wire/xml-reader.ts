/**
 * Reads the one XML form of WeChat Pay v2: a flat `<xml>` of text elements. It refuses everything else, above all
 * DOCTYPE, entities, attributes and nesting, so that a client that sends more sees an error here. It is a scanner with
 * sticky patterns: its time is linear in the size.
 */
const MAX_BYTES = 64 * 1024
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const FORBIDDEN_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

/** `reason` is NOT_UTF8 or XML_FORMAT_ERROR, WeChat's own words. */
export class XmlError extends Error {
  readonly reason: string

  constructor(reason: string, detail: string) {
    super(`${reason}: ${detail}`)
    this.reason = reason
  }
}

function malformed(detail: string): XmlError {
  return new XmlError('XML_FORMAT_ERROR', detail)
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new XmlError('NOT_UTF8', 'the bytes are not UTF-8')
  }
}

/** XML 1.0 production [2]: control characters, surrogates and U+FFFE/F are no characters. */
function isXmlCharacter(point: number): boolean {
  if (point < 0x20) return point === 0x9 || point === 0xa || point === 0xd
  return point <= 0xd7ff || (point >= 0xe000 && point <= 0xfffd) || (point >= 0x10000 && point <= 0x10ffff)
}

function checkCharacters(text: string): void {
  for (const character of text) {
    if (!isXmlCharacter(character.codePointAt(0) ?? 0)) throw malformed('a character that XML does not allow')
  }
}

/** Undoes references in plain text; a bare `&` and an entity of one's own are errors. */
function decodeReferences(text: string): string {
  if (text.includes(']]>')) throw malformed(']]> outside of CDATA')
  return text.replace(/&([^;&]{0,12};)?/g, (_, reference: string | undefined) => resolve(reference?.slice(0, -1) ?? ''))
}

function resolve(reference: string): string {
  const named = Object.hasOwn(ENTITIES, reference) ? ENTITIES[reference] : undefined
  if (named !== undefined) return named
  const number = /^#(?:x([0-9a-fA-F]+)|([0-9]+))$/.exec(reference)
  if (number === null) throw malformed('an entity that is not one of the five')
  const point = number[1] === undefined ? Number(number[2]) : Number.parseInt(number[1], 16)
  if (!isXmlCharacter(point)) throw malformed('a reference to a character that XML does not allow')
  return String.fromCodePoint(point)
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  get done(): boolean {
    return this.#at === this.#text.length
  }

  /** Moves over `pattern` (sticky) where it stands here, and gives its groups. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text) ?? undefined
    if (found !== undefined) this.#at = pattern.lastIndex
    return found
  }

  need(pattern: RegExp, what: string): RegExpExecArray {
    const found = this.take(pattern)
    if (found === undefined) throw malformed(`${what} expected at ${this.#at}`)
    return found
  }

  /** Everything up to `end`, and over it. */
  upTo(end: string): string {
    const stop = this.#text.indexOf(end, this.#at)
    if (stop < 0) throw malformed(`${end} missing`)
    const part = this.#text.slice(this.#at, stop)
    this.#at = stop + end.length
    return part
  }
}

const SPACE = /[ \t\r\n]*/y
const VERSION = /<\?xml[ \t\r\n]+version=["']1\.\d["']/
const ENCODING = /(?:[ \t\r\n]+encoding=["'](utf-8)["'])?/
const STANDALONE = /(?:[ \t\r\n]+standalone=["'](?:yes|no)["'])?[ \t\r\n]*\?>/
const DECLARATION = new RegExp(VERSION.source + ENCODING.source + STANDALONE.source, 'iy')
const ROOT = /<xml[ \t\r\n]*>/y
const ROOT_END = /<\/xml[ \t\r\n]*>/y
const OPEN = /<([A-Za-z_][A-Za-z0-9_]*)[ \t\r\n]*(\/?)>/y
const CLOSE = /<\/([A-Za-z_][A-Za-z0-9_]*)[ \t\r\n]*>/y
const TEXT = /[^<]+/y
const CDATA = /<!\[CDATA\[/y

function readValue(scanner: Scanner, name: string): string {
  let value = ''
  for (;;) {
    const text = scanner.take(TEXT)
    if (text !== undefined) value += decodeReferences(text[0])
    else if (scanner.take(CDATA) !== undefined) value += scanner.upTo(']]>')
    else break
  }
  if (scanner.need(CLOSE, `</${name}>`)[1] !== name) throw malformed(`</${name}> expected`)
  return value
}

/** Fields in the order they came, values untrimmed. Throws XmlError. */
export function readXml(bytes: Uint8Array): Map<string, string> {
  if (bytes.length > MAX_BYTES) throw malformed('too large')
  const text = decodeUtf8(bytes)
  checkCharacters(text)
  const scanner = new Scanner(text)
  if (scanner.take(DECLARATION) === undefined) scanner.take(SPACE)
  scanner.take(SPACE)
  scanner.need(ROOT, '<xml>')
  const fields = new Map<string, string>()
  for (;;) {
    scanner.take(SPACE)
    if (scanner.take(ROOT_END) !== undefined) break
    const [, name = '', empty] = scanner.need(OPEN, 'an element')
    if (fields.has(name) || FORBIDDEN_NAMES.has(name)) throw malformed(`element ${name} twice or forbidden`)
    fields.set(name, empty === '/' ? '' : readValue(scanner, name))
  }
  scanner.take(SPACE)
  if (!scanner.done) throw malformed('something after </xml>')
  return fields
}
