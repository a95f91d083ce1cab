/** What a push says: from the bytes of a verified message to a typed fact with an identity. */
import { contentHash } from '../util/bytes.ts'
import { type JsonObject, readJsonObject } from '../util/json.ts'
import { parseNestedXml } from '../xml/read.ts'
import type { XmlRefusal } from '../xml/walk.ts'
import { cleanFields, decodePush } from './text.ts'

export type PushFormat = 'json' | 'xml'

export interface PushFields {
  format: PushFormat
  /** As every receiver can carry them. */
  fields: JsonObject
  /** As they came, to distinguish messages. */
  exact: JsonObject
}

export type ReadFields = ({ status: 'read' } & PushFields) | { status: 'unreadable'; reason: XmlRefusal }

export interface PushMessage {
  /** The user it is about, or whoever sent it; empty where WeChat names none. */
  openid: string
  /** The user whom an event names in a field of its own. */
  subject: string | undefined
  msgType: string
  event: string | undefined
  /** ISO 8601, UTC. */
  createTime: string
  /** MsgId where it has one. */
  msgId: string | undefined
  /** A hash of all that it says, the same at every try: 32 hex digits. */
  contentHash: string
  /** `FromUserName` and `ToUserName`, for a reply. */
  from: string
  to: string
  /** An event of virtual payment, which is answered and repeated in a way of its own. */
  isXpay: boolean
  /** A user deleted the account. */
  isCancellation: boolean
  /** WeChat's fields; whole numbers beyond 2^53 as text, characters that XML cannot carry as U+FFFD. */
  raw: JsonObject
}

/** In events FromUserName may be the platform; then one of these names the user. */
const USER_FIELDS = ['OpenID', 'OpenId', 'openid']
/** What differs from try to try; the second one in events of virtual payment. */
const COUNTER = 'RetryTimes'
const REQUEST = 'RequestId'
const EVENT = 'event'
const XPAY = 'xpay_'
const CANCELLATION = 'user_authorization_cancellation'
const MSG_ID = /^[1-9]\d{0,19}$/
const SECONDS = /^\d{1,11}$/
/** As deep as anybody nests, and more values than any message has. */
const JSON_LIMITS = { repeated: 'list', maxDepth: 32, maxValues: 4096 } as const

/** Reads XML or JSON, whichever its first character says. Never throws. */
export function readFields(body: Buffer): ReadFields {
  const { text, exact } = decodePush(body)
  const format = text.startsWith('<') ? 'xml' : 'json'
  const read = parse(text, format)
  if (typeof read === 'string') return { status: 'unreadable', reason: read }
  const asCame = exact === text ? read : parse(exact, format)
  return { status: 'read', format, fields: cleanFields(read), exact: typeof asCame === 'string' ? read : asCame }
}

function parse(text: string, format: PushFormat): JsonObject | XmlRefusal {
  if (format === 'json') return readJsonObject(text, JSON_LIMITS) ?? 'shape'
  const xml = parseNestedXml(text)
  return xml.status === 'parsed' ? xml.fields : xml.reason
}

/** The fact; undefined where MsgType is missing. `sentAtSeconds` stands in for an absent CreateTime. */
export function readMessage(
  { fields: raw, exact }: Pick<PushFields, 'fields' | 'exact'>,
  sentAtSeconds: number
): PushMessage | undefined {
  const msgType = firstText(raw, 'MsgType')
  if (msgType.trim() === '') return undefined
  const isEvent = msgType.trim().toLowerCase() === EVENT
  const event = isEvent ? firstText(raw, 'Event') : ''
  const kind = event.trim().toLowerCase()
  const from = firstText(raw, 'FromUserName')
  const subject = isEvent ? USER_FIELDS.map((name) => firstText(raw, name)).find((text) => text !== '') : undefined
  const createTime = firstText(raw, 'CreateTime')
  const seconds = SECONDS.test(createTime) ? Number(createTime) : sentAtSeconds
  const msgId = textOf(raw, 'MsgId')
  return {
    openid: subject ?? from,
    subject,
    msgType,
    event: event || undefined,
    createTime: new Date(seconds * 1000).toISOString(),
    msgId: MSG_ID.test(msgId) ? msgId : undefined,
    contentHash: hashOf(exact, kind.startsWith(XPAY)),
    from,
    to: firstText(raw, 'ToUserName'),
    isXpay: kind.startsWith(XPAY),
    isCancellation: kind === CANCELLATION,
    raw
  }
}

/** A field as text; '' where it is absent, or neither text nor number. */
export function textOf(fields: JsonObject, name: string): string {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/**
 * The same of a field that may be there several times: the first one is WeChat's own. What users typed comes after it,
 * and may look like an element.
 */
function firstText(fields: JsonObject, name: string): string {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined
  return Array.isArray(value) ? textOf({ name: value[0] ?? null }, 'name') : textOf(fields, name)
}

/**
 * Sender, time and event are among the fields, and so is what else tells two of them apart that came from the platform
 * in the same second (docs/wechat/mini-program.md 5.5). Numbers count like their text, and order does not count.
 */
function hashOf(exact: JsonObject, isXpay: boolean): string {
  const lasting = Object.entries(exact).filter(([name]) => name !== COUNTER && !(isXpay && name === REQUEST))
  return contentHash(JSON.stringify(canonical(Object.fromEntries(lasting))))
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([name, inner]) => [name, canonical(inner)])
}
