/** What a push says: from the fields of a verified message to a typed fact with an identity. */
import { hash } from 'node:crypto'
import { type JsonFields, parseJson } from './json.ts'
import { parseNestedXml, type XmlFields } from './xml.ts'

export type PushFormat = 'json' | 'xml'

export interface PushFields {
  format: PushFormat
  fields: JsonFields | XmlFields
}

export interface PushMessage {
  /** The user it is about; empty where WeChat names none. */
  openid: string
  msgType: string
  event?: string
  /** ISO 8601, UTC. */
  createTime: string
  /** MsgId, or a hash of the message where it has none: the same at every try. */
  identity: string
  /** A hash of all that it says, the same at every try. */
  contentHash: string
  /** `FromUserName` and `ToUserName`, for a reply. */
  from: string
  to: string
  /** An event of virtual payment, which is answered and repeated in a way of its own. */
  isXpay: boolean
  /** WeChat's fields as they came; whole numbers beyond 2^53 as text. */
  raw: JsonFields | XmlFields
}

/** In events FromUserName may be the platform; then one of these names the user. */
const USER_FIELDS = ['OpenID', 'OpenId', 'openid']
/** What differs from try to try; the second one in events of virtual payment. */
const COUNTER = 'RetryTimes'
const REQUEST = 'RequestId'
const XPAY = 'xpay_'
const MSG_ID = /^[1-9]\d{0,19}$/
const SECONDS = /^\d{1,11}$/
const OPENING_BYTES = { xml: '<', json: '{' } as const

/** Reads XML or JSON, whichever its first byte says; undefined where it is neither. */
export function readFields(body: Buffer): PushFields | undefined {
  const first = firstByte(body)
  if (first === OPENING_BYTES.json) {
    const fields = parseJson(body)
    return fields && { format: 'json', fields }
  }
  const xml = first === OPENING_BYTES.xml ? parseNestedXml(body) : undefined
  return xml?.status === 'parsed' ? { format: 'xml', fields: xml.fields } : undefined
}

/** The fact; undefined where MsgType is missing. `sentAtSeconds` stands in for an absent CreateTime. */
export function readMessage(raw: JsonFields | XmlFields, sentAtSeconds: number): PushMessage | undefined {
  const msgType = textOf(raw, 'MsgType')
  if (msgType === '') return undefined
  const event = msgType === 'event' ? textOf(raw, 'Event') : ''
  const from = textOf(raw, 'FromUserName')
  const user =
    msgType === 'event' ? USER_FIELDS.map((name) => textOf(raw, name)).find((text) => text !== '') : undefined
  const createTime = textOf(raw, 'CreateTime')
  const seconds = SECONDS.test(createTime) ? Number(createTime) : sentAtSeconds
  const contentHash = hashOf(raw, event.startsWith(XPAY))
  const msgId = textOf(raw, 'MsgId')
  return {
    openid: user ?? from,
    msgType,
    ...(event !== '' && { event }),
    createTime: new Date(seconds * 1000).toISOString(),
    identity: MSG_ID.test(msgId) ? msgId : contentHash,
    contentHash,
    from,
    to: textOf(raw, 'ToUserName'),
    isXpay: event.startsWith(XPAY),
    raw
  }
}

/** A field as text; '' where it is absent, or neither text nor number. */
export function textOf(fields: JsonFields | XmlFields, name: string): string {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** The first byte that is no white space, as text; a byte order mark stands before XML only. */
function firstByte(body: Buffer): string {
  const start = body.subarray(0, 3).equals(Buffer.from('\ufeff')) ? 3 : 0
  const at = body.subarray(start).findIndex((byte) => byte !== 0x20 && (byte < 0x09 || byte > 0x0d))
  return at === -1 ? '' : String.fromCharCode(body[start + at] ?? 0)
}

/**
 * Sender, time and event are among the fields, and so is what else tells two of them apart that came from the
 * platform in the same second (mini-program.md section 5.5). Numbers count like their text, and order does not count.
 */
function hashOf(raw: JsonFields | XmlFields, isXpay: boolean): string {
  const lasting = Object.entries(raw).filter(([name]) => name !== COUNTER && !(isXpay && name === REQUEST))
  return hash('sha256', JSON.stringify(canonical(Object.fromEntries(lasting)))).slice(0, 32)
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([name, inner]) => [name, canonical(inner)])
}
