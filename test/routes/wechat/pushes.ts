/** What the tests of message push share: pushes made by hand as WeChat makes them, and their traces in Redis. */
import { createCipheriv, createDecipheriv, createHash, randomBytes, randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { APPID, type Environment } from '../../helper.ts'

export const TOKEN = 'AToken2026'
/** As in the official demo, its last two bits are not zero. */
export const AES_KEY = 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG'
export const OPENID = 'o9AgO5Kd5ggOC-bXrbNODIiE3bGY'
export const GH = 'gh_97417a04a28d'

/** Events stay in the queue, where they can be counted. */
export const PLAIN: Environment = { ROLES: 'api', WECHAT_PUSH_TOKEN: TOKEN }
export const SAFE: Environment = { ...PLAIN, WECHAT_PUSH_AES_KEY: AES_KEY }

export const TEXT = 'text/plain; charset=utf-8'
export const JSON_TYPE = 'application/json; charset=utf-8'
export const XML_TYPE = 'text/xml; charset=utf-8'

export type Query = Record<string, string>
export interface Push {
  query: Query
  body: string
}

export const nowSeconds = () => Math.floor(Date.now() / 1000)

/** docs/wechat/mini-program.md 5.1 by hand. */
export const sign = (...parts: string[]): string => createHash('sha1').update(parts.sort().join('')).digest('hex')

const key = Buffer.from(`${AES_KEY}=`, 'base64')
const iv = key.subarray(0, 16)

/** docs/wechat/mini-program.md 5.3 by hand. */
export function encrypt(message: string | Buffer, appid = APPID): string {
  const head = Buffer.alloc(20)
  randomBytes(16).copy(head)
  head.writeUInt32BE(Buffer.byteLength(message), 16)
  return encryptBytes(Buffer.concat([head, Buffer.from(message), Buffer.from(appid)]))
}

/** Any content, padded to 32; `padding` where it shall be wrong. */
export function encryptBytes(content: Buffer, padding?: Buffer): string {
  const size = 32 - (content.length % 32)
  const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
  const padded = Buffer.concat([content, padding ?? Buffer.alloc(size, size)])
  return Buffer.concat([cipher.update(padded), cipher.final()]).toString('base64')
}

export function decrypt(encrypted: string): { message: string; appid: string } {
  const decipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
  const bytes = Buffer.concat([decipher.update(encrypted, 'base64'), decipher.final()])
  const content = bytes.subarray(20, bytes.length - (bytes.at(-1) ?? 0))
  const length = bytes.readUInt32BE(16)
  return { message: content.toString('utf8', 0, length), appid: content.toString('utf8', length) }
}

export interface PushOptions {
  timestamp?: number
  nonce?: string
  /** Whom it is encrypted for. */
  appid?: string
}

const nonceOf = () => String(randomInt(1e8, 1e9))

export function plainPush(body: string, { timestamp = nowSeconds(), nonce = nonceOf() }: PushOptions = {}): Push {
  const query = { signature: sign(TOKEN, String(timestamp), nonce), timestamp: String(timestamp), nonce }
  return { query: { ...query, openid: OPENID }, body }
}

/** `plain`: the fields that stand beside Encrypt in compatible mode. */
export function safePush(message: string, options: PushOptions = {}, plain = ''): Push {
  return sealed(encrypt(message, options.appid), options, message.startsWith('<') ? 'xml' : 'json', plain)
}

export function sealed(encrypted: string, options: PushOptions, format: 'json' | 'xml', plain = ''): Push {
  const { query } = plainPush('', options)
  const { timestamp = '', nonce = '' } = query
  const body =
    format === 'xml'
      ? `<xml><ToUserName><![CDATA[${GH}]]></ToUserName>${plain}<Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`
      : `{"ToUserName":"${GH}",${plain}"Encrypt":"${encrypted}"}`
  return { query: { ...query, encrypt_type: 'aes', msg_signature: sign(TOKEN, timestamp, nonce, encrypted) }, body }
}

export type Fields = Record<string, unknown>

/** A customer's text; `change` may take fields away with undefined. */
export const textMessage = (change: Fields = {}): Fields => ({
  ToUserName: GH,
  FromUserName: OPENID,
  CreateTime: 1714112445,
  MsgType: 'text',
  Content: 'hello',
  MsgId: String(randomInt(1e12, 1e13)),
  ...change
})

export const eventMessage = (event: string, change: Fields = {}): Fields => ({
  ToUserName: GH,
  FromUserName: OPENID,
  CreateTime: 1714112445,
  MsgType: 'event',
  Event: event,
  ...change
})

/** Numbers bare, text in CDATA, lists as repeated elements. */
export function xml(fields: Fields): string {
  const element = (name: string, value: unknown): string => {
    if (Array.isArray(value)) return value.map((inner) => element(name, inner)).join('\n')
    if (typeof value === 'object' && value !== null) return `<${name}>\n${elements(value as Fields)}\n</${name}>`
    return `<${name}>${typeof value === 'number' ? value : `<![CDATA[${value}]]>`}</${name}>`
  }
  const elements = (some: Fields) =>
    Object.entries(some)
      .map(([name, value]) => element(name, value))
      .join('\n')
  return `<xml>${elements(fields)}</xml>`
}

export function send(
  app: FastifyInstance,
  { query, body }: { query: Query | string; body: string | Buffer },
  appid = APPID
) {
  const search = typeof query === 'string' ? query : String(new URLSearchParams(query))
  return app.inject({
    method: 'POST',
    url: `/wechat/push/${appid}?${search}`,
    payload: body,
    headers: { 'content-type': 'application/json' }
  })
}

export type Answer = Awaited<ReturnType<typeof send>>

export function answers(t: Test, answer: Answer, status: number, body: string, contentType = TEXT): void {
  t.equal(answer.statusCode, status)
  t.equal(answer.body, body)
  t.equal(answer.headers['content-type'], contentType)
}

export const succeeds = (t: Test, answer: Answer): void => answers(t, answer, 200, 'success')

export interface RecordedEvent {
  id: string
  type: string
  timestamp: string
  // biome-ignore lint/suspicious/noExplicitAny: WeChat's fields are of many shapes.
  data: any
}

/** Every message in the queue, in whatever state, oldest first. */
export async function eventsIn(app: FastifyInstance): Promise<RecordedEvent[]> {
  const names = await app.redis.keys(`${app.keys.eventQueue}:webhook:msg_*`)
  const jobs = await Promise.all(
    names.filter((name) => !name.endsWith(':lock')).map((name) => app.redis.hmget(name, 'data', 'timestamp'))
  )
  return jobs
    .sort(([, a], [, b]) => Number(a) - Number(b))
    .map(([text]) => {
      const { id, body } = JSON.parse(text ?? '')
      return { id, ...JSON.parse(body) }
    })
}
