/**
 * The answer side of WeChat's API security mode (docs/wechat/mini-program.md 7). Only what WeChat signed for this API,
 * this app and these minutes counts. The headers decide which signature it is; the body is not read before it holds.
 */
import { constants, createDecipheriv, createVerify } from 'node:crypto'
import { ServiceError } from '../../errors.ts'
import type { Incoming } from '../../http/exchange.ts'
import { answerText, decodedBody, errcodeOf, mayBeObject, readObject } from '../answer-text.ts'
import { isApiSecurityErrcode, STALE_TOKEN_ERRCODES } from '../errcodes.ts'
import { type JsonMembers, readMembers, writeMembers } from './members.ts'
import { type ApiSecurityKeys, additionalData, SECURITY_MEMBERS, signedHead } from './request.ts'

const LONGEST_AGE_MS = 300_000
const IV_BYTES = 12
/** Node would take shorter tags, which are easier to forge. */
const TAG_BYTES = 16

export interface OpenedAnswer {
  answer: Incoming
  /** Only the signature of the old certificate matched: the one configured has to be replaced soon. */
  certificateEnds: boolean
}

/** Verifies and opens. Throws WECHAT_BAD_RESPONSE, with the reason as its detail. */
export function openAnswer(keys: ApiSecurityKeys, urlpath: string, received: Incoming, nowMs: number): OpenedAnswer {
  const answer = uncoded(received)
  const { headers, body, status } = answer
  const given = (name: string) => textOf(headers[`wechatmp-${name}`])
  if (headers['wechatmp-signature'] === undefined && headers['wechatmp-signature-deprecated'] === undefined)
    return { answer: readUnsigned(urlpath, answer), certificateEnds: false }
  const suffix = [given('serial'), given('serial-deprecated')].indexOf(keys.wechatSerial)
  if (suffix === -1) throw unusable('WeChat signed with another certificate than the configured one')
  const timestamp = given('timestamp') ?? ''
  const signature = given(suffix === 0 ? 'signature' : 'signature-deprecated') ?? ''
  if (given('appid') !== keys.appid || !/^\d{1,12}$/.test(timestamp)) throw unusable('appid or timestamp is wrong')
  if (!holds(keys, urlpath, timestamp, body, signature)) throw unusable('the signature is wrong')
  if (Math.abs(nowMs - Number(timestamp) * 1000) > LONGEST_AGE_MS) throw unusable('it is too old; check the clock')
  return { answer: { status, ...contentOf(keys, urlpath, timestamp, answer) }, certificateEnds: suffix === 1 }
}

/** WeChat signs what it wrote. A content coding is added by a server on the way, so it is removed first. */
function uncoded(answer: Incoming): Incoming {
  const body = decodedBody(answer)
  if (body === undefined) throw unusable('it is longer than any answer of WeChat')
  if (body === answer.body) return answer
  const { 'content-encoding': _, ...headers } = answer.headers
  return { ...answer, headers, body }
}

const unusable = (reason: string) =>
  new ServiceError('WECHAT_BAD_RESPONSE', { detail: `answer in API security: ${reason}` })

const textOf = (value: string | string[] | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined

function holds(keys: ApiSecurityKeys, urlpath: string, timestamp: string, body: Buffer, signature: string): boolean {
  const key = {
    key: keys.wechatKey,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_AUTO
  }
  return createVerify('sha256')
    .update(signedHead(keys, urlpath, timestamp))
    .update(body)
    .verify(key, signature, 'base64')
}

/** JSON has to be sealed. Other bytes (the image of a QR code) cannot be, and their signature is enough. */
function contentOf(
  keys: ApiSecurityKeys,
  urlpath: string,
  timestamp: string,
  answer: Incoming
): Pick<Incoming, 'headers' | 'body'> {
  const { headers, body } = answer
  if (!mayBeObject(body)) return { headers: { 'content-type': headers['content-type'] }, body }
  const members = readMembers(unseal(keys, additionalData(keys, urlpath, timestamp), readSealed(answer)))
  if (members === undefined) throw unusable('what was sealed is no JSON object')
  if (members.get('_appid') !== JSON.stringify(keys.appid) || members.get('_timestamp') !== timestamp)
    throw unusable('_appid or _timestamp is not that of the headers')
  const kept = [...members].filter(([name]) => !SECURITY_MEMBERS.has(name))
  return jsonContent(writeMembers(kept))
}

const jsonContent = (text: string): Pick<Incoming, 'headers' | 'body'> => ({
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: Buffer.from(text)
})

type Sealed = Record<'iv' | 'data' | 'authtag', Buffer>

function unseal(keys: ApiSecurityKeys, aad: Buffer, { iv, data, authtag }: Sealed): Buffer {
  if (iv.length !== IV_BYTES || authtag.length !== TAG_BYTES) throw unusable('iv or authtag has the wrong length')
  try {
    const decipher = createDecipheriv('aes-256-gcm', keys.symKey, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(aad).setAuthTag(authtag)
    return Buffer.concat([decipher.update(data), decipher.final()])
  } catch {
    throw unusable('it does not open with the configured symmetric key')
  }
}

const objectOf = (answer: Incoming): Record<string, unknown> => readObject(answerText(answer) ?? '') ?? {}

function readSealed(answer: Incoming): Sealed {
  const members = objectOf(answer)
  const bytes = (name: string): Buffer => {
    const value = members[name]
    if (typeof value !== 'string') throw unusable('it is not sealed')
    return Buffer.from(value, 'base64')
  }
  return { iv: bytes('iv'), data: bytes('data'), authtag: bytes('authtag') }
}

/** No page of WeChat's says that a picture is signed. Nothing is decided by it, and TLS protects it as any other. */
const PICTURES = /\/(getwxacode|getwxacodeunlimit|createwxaqrcode)$/

const isPicture = (urlpath: string, { headers, body }: Incoming): boolean =>
  PICTURES.test(urlpath) && /^image\//.test(textOf(headers['content-type']) ?? '') && !mayBeObject(body)

/**
 * WeChat does not sign a refusal where it does not know which key to use. Anybody on the way could have written it, so
 * no other answer is accepted unsigned, and of these only errcode and errmsg are passed on.
 */
function readUnsigned(urlpath: string, answer: Incoming): Incoming {
  const { status } = answer
  if (isPicture(urlpath, answer)) return answer
  const members = membersOf(answer)
  const errcode = members.get('errcode') ?? ''
  if (!isApiSecurityErrcode(Number(errcode)) && !STALE_TOKEN_ERRCODES.has(errcodeOf(answer)))
    throw unusable('it is not signed')
  const errmsg = members.get('errmsg') ?? ''
  const text = errmsg.startsWith('"') ? errmsg : '""'
  return {
    status,
    ...jsonContent(
      writeMembers([
        ['errcode', errcode],
        ['errmsg', text]
      ])
    )
  }
}

/** As they were written, where they are written as JSON demands. */
function membersOf(answer: Incoming): JsonMembers {
  const lenient = Object.entries(objectOf(answer)).map(([name, value]) => [name, JSON.stringify(value)] as const)
  return readMembers(Buffer.from(answerText(answer) ?? '')) ?? new Map(lenient)
}
