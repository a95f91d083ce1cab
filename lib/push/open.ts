/** Verifies and opens one push: from the query and the raw bytes to a message (docs/wechat/mini-program.md 5.2). */
import { IDENTITY_LIFE_MS } from '../events/model.ts'
import type { App } from '../settings/model.ts'
import { contentHash } from '../util/bytes.ts'
import type { JsonObject } from '../util/json.ts'
import { decryptPush, verifyPush } from './encryption.ts'
import { findEncrypted } from './envelope.ts'
import { type PushFormat, type PushMessage, readFields, readMessage } from './message.ts'

/** Why a push was refused: a word for log and metrics, never for the answer. */
export type PushRefusal =
  | 'appid'
  /** A parameter twice, or without timestamp or nonce of the right form. */
  | 'query'
  | 'signature'
  /** Not encrypted, though the app has a key. */
  | 'downgrade'
  | 'encryption'
  /** No envelope, or DOCTYPE and entities: nobody at WeChat writes them. */
  | 'format'
  /** In plain mode, not readable, and larger than any message. */
  | 'size'
  | 'timestamp'
  /** The query of another push: plain mode signs no body, so this one is all it is good for. */
  | 'replay'

interface Authentic {
  encrypted: boolean
  nonce: string
  /** What the query was signed with in plain mode. */
  signature: string
}

export interface OpenedPush extends Authentic {
  status: 'opened'
  message: PushMessage
  /** Of the body, and so of the answer. */
  format: PushFormat
}

/** Rightly signed, and no message that we could read. */
export interface UnreadablePush extends Authentic {
  status: 'unreadable'
  /** Neither XML nor JSON, or too large a tree of it; or without MsgType. */
  reason: 'format' | 'MsgType'
  /** Of the bytes of the message, the same at every try: 32 hex digits. */
  contentHash: string
}

export type PushOpening = OpenedPush | UnreadablePush | { status: 'refused'; reason: PushRefusal }

export interface PushQuery {
  timestamp: string
  nonce: string
  signature: string | undefined
  msgSignature: string | undefined
  encryptType: string | undefined
  echostr: string | undefined
}

/** Ten digits reach from 2001 to 2286; with a free length a digit could move between timestamp and nonce unnoticed. */
const TIMESTAMP = /^\d{10}$/
const NONCE = /^[\w-]{1,128}$/
const WINDOW_SECONDS = 600
/** WeChat repeats xpay events at growing intervals, 18 hours in all. */
export const PLAIN_XPAY_SECONDS = 86_400
/** A day less than a repeat is recognised: its timestamp may be that of a later try. */
const ENCRYPTED_XPAY_SECONDS = IDENTITY_LIFE_MS / 1000 - 86_400

/** The query of a push or URL check, every parameter at most once; undefined where it cannot be WeChat's. */
export function readQuery(query: Readonly<Record<string, unknown>>): PushQuery | undefined {
  const given = Object.entries(query)
  const once = given.filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const found = new Map(once)
  const [timestamp = '', nonce = ''] = [found.get('timestamp'), found.get('nonce')]
  if (once.length < given.length || !TIMESTAMP.test(timestamp) || !NONCE.test(nonce)) return undefined
  return {
    timestamp,
    nonce,
    signature: found.get('signature'),
    msgSignature: found.get('msg_signature'),
    encryptType: found.get('encrypt_type'),
    echostr: found.get('echostr')
  }
}

const SIGNED_PARAMETERS = ['signature', 'timestamp', 'nonce', 'msg_signature', 'encrypt_type']

/** What of a query it takes to verify the push once more. */
export function signedParameters(query: Readonly<Record<string, unknown>>): Record<string, string> {
  const given = SIGNED_PARAMETERS.map((name) => [name, query[name]])
  return Object.fromEntries(given.filter(([, value]) => typeof value === 'string'))
}

/** Opens a push for `app`: encrypted where the app has an AES key, and only then. Never throws. */
export function openPush(app: App, query: PushQuery | undefined, body: Buffer, nowMs: number): PushOpening {
  const { pushToken, pushAesKey } = app
  if (pushToken === undefined) return refused('appid')
  if (query === undefined) return refused('query')
  const opened =
    pushAesKey === undefined
      ? openPlain(pushToken, query, body)
      : openEncrypted({ appid: app.appid, token: pushToken, aesKey: pushAesKey }, query, body)
  return opened.status !== 'refused' && !isTimely(opened, query, nowMs) ? refused('timestamp') : opened
}

function openPlain(token: string, query: PushQuery, body: Buffer): PushOpening {
  if (!verifyPush([token, query.timestamp, query.nonce], query.signature)) return refused('signature')
  return describe(body, query, false)
}

function openEncrypted(
  keys: { appid: string; token: string; aesKey: string },
  query: PushQuery,
  body: Buffer
): PushOpening {
  if (query.encryptType !== 'aes') return refused('downgrade')
  const found = findEncrypted(body)
  if (found === undefined) return refused('format')
  if (found.length === 0) return refused('downgrade')
  // What stands beside Encrypt, in compatible mode the whole message, is signed by nobody: it is not looked at.
  const isSigned = (text: string) => verifyPush([keys.token, query.timestamp, query.nonce, text], query.msgSignature)
  const [encrypted, ...others] = found.filter(isSigned)
  if (encrypted === undefined || others.length > 0) return refused('signature')
  const decrypted = decryptPush(encrypted, keys.aesKey)
  if (decrypted === undefined) return refused('encryption')
  return decrypted.appid === keys.appid ? describe(decrypted.message, query, true) : refused('appid')
}

function describe(bytes: Buffer, { timestamp, nonce, signature = '' }: PushQuery, encrypted: boolean): PushOpening {
  const authentic = { encrypted, nonce, signature }
  const unreadable = (reason: UnreadablePush['reason']): UnreadablePush => {
    return { status: 'unreadable', reason, contentHash: contentHash(bytes), ...authentic }
  }
  const read = readFields(bytes)
  if (read.status === 'unreadable')
    return read.reason === 'doctype' || read.reason === 'entity' ? refused('format') : unreadable('format')
  const { format, fields, exact } = read
  const own = { fields: withoutEnvelope(fields), exact: withoutEnvelope(exact) }
  const message = readMessage(own, Number(timestamp))
  if (message !== undefined) return { status: 'opened', message, format, ...authentic }
  // Encrypted, and no key here: each try would be another one.
  return Object.hasOwn(fields, 'Encrypt') && !encrypted ? refused('encryption') : unreadable('MsgType')
}

/** In compatible mode without a key: the ciphertext is another one at every try, and nobody's to read. */
function withoutEnvelope(fields: JsonObject): JsonObject {
  const { Encrypt: _encrypt, ...message } = fields
  return message
}

/** xpay events are repeated for hours: encrypted ones may be as old as the record knows them, plain ones a day. */
function isTimely(opened: OpenedPush | UnreadablePush, { timestamp }: PushQuery, nowMs: number): boolean {
  const ageSeconds = Math.floor(nowMs / 1000) - Number(timestamp)
  if (ageSeconds < -WINDOW_SECONDS) return false
  if (opened.status === 'unreadable' || !opened.message.isXpay) return ageSeconds <= WINDOW_SECONDS
  return ageSeconds <= (opened.encrypted ? ENCRYPTED_XPAY_SECONDS : PLAIN_XPAY_SECONDS)
}

const refused = (reason: PushRefusal): PushOpening => ({ status: 'refused', reason })
