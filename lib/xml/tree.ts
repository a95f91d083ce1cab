/** The values of a nested message, by fast-xml-parser. Only what the walk of read.ts took comes here. */
import { XMLParser } from 'fast-xml-parser'
import { cleanName, decodeReferences } from './text.ts'

/** Text, an object for an element that holds others, and a list where an element repeats. */
export type XmlValue = string | XmlValue[] | { [name: string]: XmlValue }
export type XmlFields = { [name: string]: XmlValue }

/** Where an element holds elements and text beside them. No element can be called so. */
const TEXT_NAME = '#text'
const BLANK = /^[ \t\n]*$/

const doNothing = () => undefined

/** Its own conversions are off: every value is the text as it came, with references decoded once. */
const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  parseTagValue: false,
  trimValues: false,
  textNodeName: TEXT_NAME,
  transformTagName: cleanName,
  onDangerousProperty: (name) => name,
  entityDecoder: {
    decode: decodeReferences,
    reset: doNothing,
    setXmlVersion: doNothing,
    addInputEntities: doNothing,
    setExternalEntities: doNothing
  }
})

/** What the root holds. Line ends are `\n`. White space between elements is no text. Objects have no prototype. */
export function readTree(text: string): XmlFields {
  const { xml } = parser.parse(text)
  return withoutBlanks(typeof xml === 'string' ? {} : xml)
}

function withoutBlanks(fields: XmlFields): XmlFields {
  const clean: XmlFields = Object.create(null)
  for (const [name, value] of Object.entries(fields)) {
    const isBlank = name === TEXT_NAME && typeof value === 'string' && BLANK.test(value)
    if (!isBlank) clean[name] = withoutBlanksIn(value)
  }
  return clean
}

function withoutBlanksIn(value: XmlValue): XmlValue {
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.map(withoutBlanksIn) : withoutBlanks(value)
}
