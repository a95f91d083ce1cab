/** How WeChat takes an answer to a push: accepted, or not and why. */
import { type PushFields, readAnswer } from '../wire/push-body.ts'
import { decryptPush, pushSignature } from '../wire/push-crypt.ts'
import type { Terms } from './push-parcel.ts'

export interface PushReply {
  /** It came encrypted. */
  encrypted: boolean
  /** Decrypted. Values of XML are text. */
  fields: PushFields
}

export type Judgement = { accepted: true; reply?: PushReply } | { accepted: false; problem: string }

/** Of the push that it answers. */
export interface Expected extends Pick<Terms, 'token' | 'aesKey' | 'appid' | 'mode'> {
  nonce: string
  /** Its FromUserName and ToUserName, which change places in a reply; undefined: not looked at. */
  from: unknown
  to: unknown
}

const refused = (problem: string): Judgement => ({ accepted: false, problem })

/** 200 with `success`, nothing, ErrCode 0, or a reply: encrypted in safe mode, in plain text in plain mode. */
export function judge(status: number, body: string, expected: Expected): Judgement {
  if (status !== 200) return refused(status === 0 ? 'no answer' : `HTTP ${status}`)
  if (body === '' || body === 'success') return { accepted: true }
  const answer = readAnswer(body)
  if (answer === undefined) return refused('neither success nor JSON nor XML')
  const { fields } = answer
  if ('ErrCode' in fields)
    return Number(fields.ErrCode) === 0 ? { accepted: true } : refused(`ErrCode ${fields.ErrCode}`)
  const isEncrypted = 'Encrypt' in fields
  if (isEncrypted && expected.mode === 'plain') return refused('an encrypted reply in plain mode')
  if (!isEncrypted && expected.mode === 'safe') return refused('a reply in safe mode that is not encrypted')
  return isEncrypted ? judgeEncrypted(fields, body, expected) : judgeReply({ encrypted: false, fields }, expected)
}

/** The URL check: echostr and nothing around it, unencrypted in every mode. */
export function judgeCheck(status: number, body: string, echostr: string): Judgement {
  if (status !== 200) return refused(status === 0 ? 'no answer' : `HTTP ${status}`)
  return body === echostr ? { accepted: true } : refused('the answer is not echostr')
}

function judgeEncrypted(fields: PushFields, body: string, expected: Expected): Judgement {
  const { Encrypt, MsgSignature, TimeStamp, Nonce } = fields
  if (!/"TimeStamp":\s*\d+|<TimeStamp>\d+<\/TimeStamp>/.test(body)) return refused('TimeStamp is no bare number')
  if (Nonce !== expected.nonce) return refused('Nonce is not that of the push')
  if (MsgSignature !== pushSignature(expected.token, String(TimeStamp), expected.nonce, String(Encrypt)))
    return refused('MsgSignature is wrong')
  const decrypted = decryptPush(String(Encrypt), expected.aesKey)
  if (decrypted === undefined) return refused('Encrypt cannot be decrypted')
  if (decrypted.appid !== expected.appid) return refused('Encrypt is for another app')
  const inner = readAnswer(decrypted.message)
  return inner === undefined
    ? refused('inside Encrypt is neither JSON nor XML')
    : judgeReply({ encrypted: true, fields: inner.fields }, expected)
}

function judgeReply(reply: PushReply, { from, to }: Expected): Judgement {
  const { ToUserName, FromUserName, CreateTime, MsgType } = reply.fields
  if ((from !== undefined && ToUserName !== from) || (to !== undefined && FromUserName !== to))
    return refused('the reply is not from the app to the sender')
  if (!/^\d+$/.test(String(CreateTime)) || typeof MsgType !== 'string' || MsgType === '')
    return refused('the reply has no CreateTime or MsgType')
  return { accepted: true, reply }
}
