/**
 * A merchant of APIv3 at the sandbox, with parts of wechatpay-axios-plugin: an SDK that shares no line with the
 * sandbox.
 */
import { createRequire } from 'node:module'
import type { Test } from 'tap'
import {
  type MerchantSecrets,
  makeApp,
  makeMerchant,
  type Sandbox,
  type SandboxMerchant,
  type SandboxOptions,
  startSandbox
} from '../../sandbox/index.ts'
import { listenFor } from '../listen.ts'

/** Each property is a part of a path. */
// biome-ignore lint/suspicious/noExplicitAny: whatever is asked for exists
type Paths = any

/** Only what is used here; the package's own types do not fit `nodenext`. */
interface Sdk {
  Formatter: {
    request(method: string, url: string, timestamp: number, nonce: string, body: string): string
    response(timestamp: string, nonce: string, body: string): string
    authorization(mchid: string, nonce: string, signature: string, timestamp: number, serial: string): string
    nonce(): string
  }
  Rsa: {
    sign(message: string, key: unknown): string
    verify(message: string, signature: string, key: unknown): boolean
    from(pem: string, type: 'private' | 'public'): unknown
  }
  Aes: { AesGcm: { decrypt(ciphertext: string, key: string, nonce: string, aad: string): string } }
  Wechatpay: new (config: object) => Paths
}
export const sdk: Sdk = createRequire(import.meta.url)('wechatpay-axios-plugin')

// biome-ignore lint/suspicious/noExplicitAny: JSON as it came
export type Json = Record<string, any>

export const app = makeApp('wx2421b1c4370ec43b')
const made = makeMerchant({ appids: [app.appid], mode: 'both' })
export const merchant: SandboxMerchant = made.merchant
export const secrets: MerchantSecrets = made.secrets

export interface Answer {
  status: number
  headers: Headers
  text: string
  bytes: Buffer
  json: Json
}

export interface PayWorld {
  sandbox: Sandbox
  /** Milliseconds since 1970, at WeChat and at the merchant. */
  now(): number
  advance(ms: number): void
  /** Signed rightly, `changes` apart. */
  call(method: string, path: string, body?: Json | string, changes?: Changes): Promise<Answer>
  order(changes?: Json): Promise<Answer>
}

export interface Changes {
  headers?: Record<string, string>
  /** Added to the timestamp. */
  skewSeconds?: number
  serial?: string
  mchid?: string
  /** Instead of what is sent. */
  signedBody?: string
}

const START = Date.parse('2025-01-01T08:00:00+08:00')

export async function buildPay(t: Test, options: Partial<SandboxOptions> = {}): Promise<PayWorld> {
  let ms = START
  const sandbox = await startSandbox({ apps: [app], merchants: [merchant], now: () => ms, ...options })
  t.teardown(() => sandbox.close())
  const key = sdk.Rsa.from(secrets.privateKeyPem, 'private')

  async function call(method: string, path: string, body?: Json | string, changes: Changes = {}): Promise<Answer> {
    const { mchid = secrets.mchid, serial = secrets.certSerial, skewSeconds = 0 } = changes
    const text = typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body)
    const timestamp = Math.floor(ms / 1000) + skewSeconds
    const nonce = sdk.Formatter.nonce()
    const message = sdk.Formatter.request(method, path, timestamp, nonce, changes.signedBody ?? text)
    const authorization = sdk.Formatter.authorization(mchid, nonce, sdk.Rsa.sign(message, key), timestamp, serial)
    const headers = { authorization, 'user-agent': 'test', ...changes.headers }
    const init = method === 'GET' ? {} : { body: text }
    const answer = await fetch(`${sandbox.origin}${path}`, { method, headers, ...init })
    const bytes = Buffer.from(await answer.arrayBuffer())
    const isJson = answer.headers.get('content-type')?.startsWith('application/json')
    const json = isJson ? JSON.parse(bytes.toString()) : {}
    return { status: answer.status, headers: answer.headers, text: bytes.toString(), bytes, json }
  }

  return {
    sandbox,
    now: () => ms,
    advance(by) {
      ms += by
    },
    call,
    order: (changes) => call('POST', '/v3/pay/transactions/jsapi', orderBody(changes))
  }
}

export function orderBody(changes: Json = {}): Json {
  return {
    appid: app.appid,
    mchid: secrets.mchid,
    description: 'Image形象店-深圳腾大-QQ公仔',
    out_trade_no: 'T20250101_0001',
    notify_url: 'https://pay.example.com/notify',
    amount: { total: 100, currency: 'CNY' },
    payer: { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' },
    ...changes
  }
}

/** Whether `publicPem` (a public key or a certificate) holds for what came with these headers. */
export function holds(headers: Headers, text: string, publicPem: string): boolean {
  const [timestamp, nonce, signature] = ['timestamp', 'nonce', 'signature'].map(
    (name) => headers.get(`wechatpay-${name}`) ?? ''
  )
  const message = sdk.Formatter.response(timestamp ?? '', nonce ?? '', text)
  return sdk.Rsa.verify(message, signature ?? '', sdk.Rsa.from(publicPem, 'public'))
}

export function open(resource: Json, key = secrets.apiV3Key): Json {
  const { ciphertext, nonce, associated_data } = resource
  return JSON.parse(sdk.Aes.AesGcm.decrypt(ciphertext, key, nonce, associated_data))
}

export interface Received {
  url: string
  headers: Headers
  text: string
  json: Json
}

/** A merchant's notify_url: answers what the path says, `/204`, or what `answers` holds, one after the other. */
export async function notified(t: Test, answers: number[] = []): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = []
  const { origin } = await listenFor(t, async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    const headers = new Headers(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)] as [string, string])
    )
    received.push({ url: request.url ?? '', headers, text, json: text.startsWith('{') ? JSON.parse(text) : {} })
    response.statusCode = answers.shift() ?? 204
    response.end()
  })
  return { url: `${origin}/notify`, received }
}
