/** Messages and envelopes of message push in both formats that an app's owner can choose. */
import type { PushFormat } from '../options.ts'
import { readObject, writeJson } from './json.ts'
import { readXml, XmlError } from './xml-reader.ts'

export type PushFields = Record<string, unknown>

export const CONTENT_TYPES: Readonly<Record<PushFormat, string>> = { json: 'application/json', xml: 'text/xml' }

/** In XML the List of these events stands in an element of its own; in JSON it stands in the root. */
const LIST_ELEMENTS = new Map([
  ['subscribe_msg_popup_event', 'SubscribeMsgPopupEvent'],
  ['subscribe_msg_change_event', 'SubscribeMsgChangeEvent'],
  ['subscribe_msg_sent_event', 'SubscribeMsgSentEvent']
])

/** `fields` are as JSON has them; a bigint is written as its digits. */
export function writePush(fields: PushFields, format: PushFormat): string {
  return format === 'json' ? writeJson(fields) : `<xml>${elementsOf(likeXml(fields))}</xml>`
}

/** CreateTime is text in the JSON of some events, and bare in all XML. */
function likeXml({ List, ...fields }: PushFields): PushFields {
  const element = LIST_ELEMENTS.get(String(fields.Event))
  const list = List === undefined ? {} : element === undefined ? { List } : { [element]: { List } }
  const time = 'CreateTime' in fields ? { CreateTime: Number(fields.CreateTime) } : {}
  return { ...fields, ...time, ...list }
}

const elementsOf = (fields: object): string =>
  Object.entries(fields)
    .map(([name, value]) => elementOf(name, value))
    .join('\n')

/** `]]>` cannot stand in a CDATA section: it is split over two. */
const inCdata = (text: string): string => `<![CDATA[${text.replaceAll(']]>', ']]]]><![CDATA[>')}]]>`

/** Numbers bare, text in CDATA, a list as repeated elements. */
function elementOf(name: string, value: unknown): string {
  if (Array.isArray(value)) return value.map((entry) => elementOf(name, entry)).join('\n')
  if (typeof value === 'object' && value !== null) return `<${name}>${elementsOf(value)}</${name}>`
  return `<${name}>${typeof value === 'string' ? inCdata(value) : value}</${name}>`
}

/** Safe mode: who it is for, and Encrypt, where there is one. */
export function writeEnvelope(originalId: string, encrypted: string | undefined, format: PushFormat): string {
  return writePush({ ToUserName: originalId, ...(encrypted !== undefined && { Encrypt: encrypted }) }, format)
}

/** Compatible mode: Encrypt behind the other fields of a message that is no empty one. */
export function addEncrypt(message: string, encrypted: string, format: PushFormat): string {
  const [end, field] =
    format === 'json' ? ['}', `,"Encrypt":"${encrypted}"`] : ['</xml>', `<Encrypt>${inCdata(encrypted)}</Encrypt>`]
  const at = message.lastIndexOf(end)
  return at < 0 ? message : `${message.slice(0, at)}${field}${message.slice(at)}`
}

/** The fields of an answer, values of XML as text; undefined where it is neither a JSON object nor flat XML. */
export function readAnswer(body: string): { fields: PushFields; format: PushFormat } | undefined {
  if (!body.startsWith('<')) {
    const fields = readObject(body)
    return fields && { fields, format: 'json' }
  }
  try {
    return { fields: Object.fromEntries(readXml(Buffer.from(body))), format: 'xml' }
  } catch (error) {
    if (error instanceof XmlError) return undefined
    throw error
  }
}
