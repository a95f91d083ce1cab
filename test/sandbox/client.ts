/** What the sandbox tests share: one app and one merchant at WeChat, and the calls that a gateway would make. */
import { createDecipheriv, createHash, createHmac } from 'node:crypto'
import type { Test } from 'tap'
import { type Sandbox, type SandboxOptions, startSandbox } from '../../sandbox/index.ts'

export const APPID = 'wx0000000000000001'
export const OTHER_APPID = 'wx0000000000000002'
export const SECRET = '0123456789abcdef0123456789abcdef'
export const MCHID = '1900000109'
export const KEY = 'throwAwayApiV2Key000000000000001'

export interface World {
  sandbox: Sandbox
  /** Moves the sandbox's clock. */
  advance(ms: number): void
}

export async function build(t: Test, options: Partial<SandboxOptions> = {}): Promise<World> {
  let ms = Date.parse('2025-01-01T00:00:00Z')
  const sandbox = await startSandbox({
    apps: [
      { appid: APPID, secret: SECRET },
      { appid: OTHER_APPID, secret: SECRET, unionids: true }
    ],
    merchants: [{ mchid: MCHID, apiV2Key: KEY, appids: [APPID] }],
    now: () => ms,
    ...options
  })
  t.teardown(() => sandbox.close())
  return {
    sandbox,
    advance(by) {
      ms += by
    }
  }
}

export type Json = Record<string, unknown>

export async function readJson(response: Response): Promise<Json> {
  return (await response.json()) as Json
}

export async function postJson(url: string, body: unknown): Promise<Json> {
  const headers = { 'content-type': 'application/json' }
  return readJson(await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) }))
}

/** code2Session with right parameters, `changes` apart; null leaves a parameter out. */
export function session(sandbox: Sandbox, changes: Record<string, string | null>, method = 'GET'): Promise<Response> {
  const right = { appid: APPID, secret: SECRET, grant_type: 'authorization_code' }
  const parameters = Object.entries({ ...right, ...changes }).filter(
    (entry): entry is [string, string] => entry[1] !== null
  )
  return fetch(`${sandbox.origin}/sns/jscode2session?${new URLSearchParams(parameters)}`, { method })
}

export function askToken(sandbox: Sandbox, changes: Json = {}): Promise<Json> {
  return postJson(`${sandbox.origin}/cgi-bin/stable_token`, {
    grant_type: 'client_credential',
    appid: APPID,
    secret: SECRET,
    ...changes
  })
}

export function askPhone(sandbox: Sandbox, token: unknown, body: Json): Promise<Json> {
  return postJson(`${sandbox.origin}/wxa/business/getuserphonenumber?access_token=${token}`, body)
}

export function decrypt(sessionKey: unknown, encryptedData: string, iv: string): string {
  const decipher = createDecipheriv('aes-128-cbc', Buffer.from(String(sessionKey), 'base64'), Buffer.from(iv, 'base64'))
  return decipher.update(encryptedData, 'base64', 'utf8') + decipher.final('utf8')
}

/** The v2 signature, written a second time and not as the sandbox does. */
export function signed(fields: Record<string, string>, key = KEY, hmac = false): string {
  const names = Object.keys(fields).filter((name) => name !== 'sign' && fields[name] !== '')
  const text = [...names.sort().map((name) => `${name}=${fields[name]}`), `key=${key}`].join('&')
  return (hmac ? createHmac('sha256', key) : createHash('md5')).update(text).digest('hex').toUpperCase()
}

/** Enough for the sandbox's own spelling of XML. */
export function xmlFields(xml: string): Record<string, string> {
  const found = xml.matchAll(/^<(\w+)>(?:<!\[CDATA\[(.*)\]\]>|(.*))<\/\1>$/gm)
  return Object.fromEntries([...found].map(([, name, cdata, text]) => [name, cdata ?? text]))
}

export function xmlOf(fields: Record<string, string>): string {
  return `<xml>${Object.entries(fields)
    .map(([name, value]) => `<${name}><![CDATA[${value}]]></${name}>`)
    .join('')}</xml>`
}

/** A right unified order, `changes` apart ('' leaves a field out), signed. */
export function orderXml(changes: Record<string, string> = {}, key = KEY): string {
  const fields: Record<string, string> = {
    appid: APPID,
    mch_id: MCHID,
    nonce_str: String(Math.random()),
    body: '测试',
    out_trade_no: 'T20250101_0001',
    total_fee: '88',
    spbill_create_ip: '127.0.0.1',
    notify_url: 'https://pay.example.com/notify',
    trade_type: 'JSAPI',
    openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
    ...changes
  }
  return xmlOf({ ...fields, sign: fields.sign ?? signed(fields, key, fields.sign_type === 'HMAC-SHA256') })
}

export function placeRaw(sandbox: Sandbox, body: string | Uint8Array<ArrayBuffer>): Promise<Response> {
  return fetch(`${sandbox.origin}/pay/unifiedorder`, { method: 'POST', headers: { 'content-type': 'text/xml' }, body })
}

export async function place(sandbox: Sandbox, changes: Record<string, string> = {}): Promise<Record<string, string>> {
  return xmlFields(await (await placeRaw(sandbox, orderXml(changes))).text())
}
