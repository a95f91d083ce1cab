/**
 * What WeChat is answered: `success`, the form of virtual payment, or a reply, encrypted where the push was
 * (docs/wechat/mini-program.md 5.4).
 */
import type { App } from '../settings/model.ts'
import { buildFlatXml } from '../xml/write.ts'
import { encryptPush, signPush } from './encryption.ts'
import type { PushFormat } from './message.ts'
import type { OpenedPush } from './open.ts'

export interface Answer {
  contentType: string
  body: string
}

const TEXT = 'text/plain; charset=utf-8'
const CONTENT_TYPES: Readonly<Record<PushFormat, string>> = {
  json: 'application/json; charset=utf-8',
  xml: 'text/xml; charset=utf-8'
}

/** One for everybody who is refused, whatever for. */
export const REFUSED: Answer = { contentType: TEXT, body: 'refused' }

/** For what is kept. */
export const SUCCESS: Answer = { contentType: TEXT, body: 'success' }

/** The URL check: `echostr`, and nothing around it. */
export const echo = (echostr: string): Answer => ({ contentType: TEXT, body: echostr })

/** For a push that is stored. */
export function accept(push: OpenedPush, app: App, nowMs: number): Answer {
  if (push.message.isXpay) return write(push.format, { ErrCode: 0, ErrMsg: 'success' })
  const isFromCustomer = push.message.msgType !== 'event'
  if (app.pushReply !== 'transfer_customer_service' || !isFromCustomer) return SUCCESS
  const nowSeconds = Math.floor(nowMs / 1000)
  const reply = write(push.format, transfer(push, nowSeconds))
  return push.encrypted ? seal(reply.body, push, app, nowSeconds) : reply
}

/** For a push that is right but not stored: WeChat is to send it again. */
export function postpone({ message, format }: OpenedPush): Answer {
  return message.isXpay ? write(format, { ErrCode: -1, ErrMsg: 'busy' }) : REFUSED
}

export interface ReplyKeys {
  token: string
  aesKey: string
  appid: string
  /** Of the request. */
  nonce: string
  nowSeconds: number
  /** 16 bytes, fixed by vectors only. */
  random?: Buffer
}

/** Encrypts and signs a reply as WeChat wants it in safe mode. */
export function sealReply(message: string, { token, nonce, nowSeconds, ...keys }: ReplyKeys): Fields {
  const encrypted = encryptPush(message, keys)
  const signature = signPush([token, String(nowSeconds), nonce, encrypted])
  return { Encrypt: encrypted, MsgSignature: signature, TimeStamp: nowSeconds, Nonce: nonce }
}

function seal(message: string, { nonce, format }: OpenedPush, app: App, nowSeconds: number): Answer {
  const { appid, pushToken: token = '', pushAesKey: aesKey = '' } = app
  return write(format, sealReply(message, { token, aesKey, appid, nonce, nowSeconds }))
}

const transfer = ({ message }: OpenedPush, nowSeconds: number): Fields => ({
  ToUserName: message.from,
  FromUserName: message.to,
  CreateTime: nowSeconds,
  MsgType: 'transfer_customer_service'
})

type Fields = Readonly<Record<string, string | number>>

function write(format: PushFormat, fields: Fields): Answer {
  const body = format === 'json' ? JSON.stringify(fields) : buildFlatXml(Object.entries(fields))
  return { contentType: CONTENT_TYPES[format], body }
}
