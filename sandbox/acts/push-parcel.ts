/** Signs, encrypts and addresses one push: the query and the body that go over the wire. */
import { randomInt } from 'node:crypto'
import type { PushFormat, PushMode } from '../options.ts'
import { addEncrypt, CONTENT_TYPES, writeEnvelope } from '../wire/push-body.ts'
import { encryptPush, pushSignature } from '../wire/push-crypt.ts'

/** What a push is made from. */
export interface Terms {
  mode: PushMode
  format: PushFormat
  token: string
  /** '' in plain mode. */
  aesKey: string
  /** Whom it is encrypted for. */
  appid: string
  originalId: string
  /** The sender. */
  openid: string
  /** Seconds, of the query. */
  timestamp: number
  /** Changes Encrypt before signing. */
  seal?: (encrypted: string) => string
  /** Changes Encrypt after signing. */
  send?: (encrypted: string) => string | undefined
}

export interface Parcel {
  /** Names may repeat. */
  query: [name: string, value: string][]
  contentType: string
  body: string
}

/** A new nonce, and so another query, at each call. */
export function packPush(message: string, terms: Terms): Parcel {
  const { token, format, openid, mode } = terms
  const [timestamp, nonce] = stamps(terms)
  const query = signedQuery(token, timestamp, nonce)
  query.push(['openid', openid])
  const contentType = CONTENT_TYPES[format]
  if (mode === 'plain') return { query, contentType, body: message }
  const encrypted = seal(message, terms)
  query.push(['encrypt_type', 'aes'], ['msg_signature', pushSignature(token, timestamp, nonce, encrypted)])
  return { query, contentType, body: wrap(message, encrypted, terms) }
}

/** The URL check: a GET without a body, and nothing of it is encrypted. */
export function packCheck(echostr: string, terms: Pick<Terms, 'token' | 'timestamp'>): Parcel {
  const query = signedQuery(terms.token, ...stamps(terms))
  return { query: [...query, ['echostr', echostr]], contentType: '', body: '' }
}

const stamps = ({ timestamp }: Pick<Terms, 'timestamp'>): [timestamp: string, nonce: string] => [
  String(timestamp),
  String(randomInt(1e8, 4e9))
]

const signedQuery = (token: string, timestamp: string, nonce: string): Parcel['query'] => [
  ['signature', pushSignature(token, timestamp, nonce)],
  ['timestamp', timestamp],
  ['nonce', nonce]
]

function seal(message: string, { seal: change = (encrypted) => encrypted, ...keys }: Terms): string {
  return change(encryptPush(message, keys))
}

function wrap(message: string, sealed: string, { mode, format, originalId, send }: Terms): string {
  const encrypted = send === undefined ? sealed : send(sealed)
  if (mode === 'safe') return writeEnvelope(originalId, encrypted, format)
  return encrypted === undefined ? message : addEncrypt(message, encrypted, format)
}
