/**
 * A whole gateway for a test: a real Redis with its own prefix, WeChat's sandbox, a merchant's backend, and a clean
 * end.
 */
import { randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import wxgate, { serverOptions, type WxgateOptions } from '../app.ts'
import { readSettings } from '../lib/settings.ts'
import { type Backend, startBackend } from '../sandbox/backend.ts'
import { type Sandbox, startSandbox } from '../sandbox/index.ts'
import { type PrivateRedis, startRedis } from '../tools/redis.ts'

export const APPID = 'wx0123456789abcdef'
export const OTHER_APPID = 'wxfedcba9876543210'
export const MCHID = '1900000109'
export const API_KEY = randomBytes(24).toString('hex')

let shared: Promise<PrivateRedis> | undefined

/** The Redis of this test file: started with its first test, gone with its process. */
export function sharedRedis(): Promise<PrivateRedis> {
  shared ??= startRedis()
  return shared
}

export interface World {
  app: FastifyInstance
  sandbox: Sandbox
  backend: Backend
  /** Another instance on the same Redis, with the same settings but for `change`. */
  another(change?: Environment): Promise<FastifyInstance>
  env: Environment
  secrets: Secrets
  /** Every log line so far, of all instances. */
  logs(): string
}

export type Environment = Record<string, string | undefined>

export interface Secrets {
  appSecret: string
  otherAppSecret: string
  apiV2Key: string
}

export interface BuildOptions {
  env?: Environment
  redis?: PrivateRedis
  now?: () => number
  overload?: WxgateOptions['overload']
  bodyBudgets?: WxgateOptions['bodyBudgets']
  /** For what has to be hooked in before the service is. */
  prepare?: (app: FastifyInstance) => void
}

/**
 * 0: late timers are no reason to refuse. On a busy machine they are late by seconds. Only the tests of that limit need
 * it.
 */
const PATIENT: NonNullable<WxgateOptions['overload']> = { maxEventLoopDelayMs: 0 }

const secret = (bytes: number) => randomBytes(bytes).toString('hex')

export async function build(
  t: Test,
  { env: change = {}, redis, now, overload = PATIENT, bodyBudgets = {}, prepare }: BuildOptions = {}
): Promise<World> {
  const secrets: Secrets = { appSecret: secret(16), otherAppSecret: secret(16), apiV2Key: secret(16) }
  const sandbox = await startSandbox({
    apps: [
      { appid: APPID, secret: secrets.appSecret, unionids: true },
      { appid: OTHER_APPID, secret: secrets.otherAppSecret }
    ],
    merchants: [{ mchid: MCHID, apiV2Key: secrets.apiV2Key, appids: [APPID] }],
    ...(now && { now })
  })
  t.teardown(() => sandbox.close())
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const backend = await startBackend({ secret: webhookSecret })
  t.teardown(() => backend.close())

  const { url } = redis ?? (await sharedRedis())
  const env: Environment = {
    PORT: '0',
    LOG_LEVEL: 'info',
    PUBLIC_URL: 'https://wx.example.test',
    REDIS_URL: url,
    REDIS_PREFIX: `t${secret(4)}`,
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    JWT_SECRET: secret(32),
    WECHAT_APPID: APPID,
    WECHAT_SECRET: secrets.appSecret,
    WECHAT_PAY_MCHID: MCHID,
    WECHAT_PAY_API_V2_KEY: secrets.apiV2Key,
    WECHAT_API_ORIGIN: sandbox.origin,
    WECHAT_PAY_ORIGIN: sandbox.origin,
    INTERNAL_API_KEYS: API_KEY,
    WEBHOOK_URL: backend.webhookUrl,
    WEBHOOK_SECRET: webhookSecret,
    ...change
  }
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    }
  })

  async function another(more: Environment = {}): Promise<FastifyInstance> {
    const settings = readSettings({ ...env, ...more })
    const app = fastify(serverOptions(settings, stream))
    t.teardown(() => app.close())
    prepare?.(app)
    await app.register(wxgate, { settings, overload, bodyBudgets, ...(now && { now }) })
    await app.ready()
    return app
  }

  return { app: await another(), sandbox, backend, another, env, secrets, logs: () => lines.join('') }
}

export interface LoggedIn {
  openid: string
  token: string
  refreshToken: string
  headers: { authorization: string }
}

/** A user of the sandbox logs in through `app`. */
export async function logIn(app: FastifyInstance, sandbox: Sandbox, openid?: string): Promise<LoggedIn> {
  const { code } = sandbox.login({ appid: APPID, ...(openid && { openid }) })
  const answer = await app.inject({ method: 'POST', url: '/api/login', payload: { code } })
  if (answer.statusCode !== 200) throw new Error(`login failed: ${answer.body}`)
  const { token, refreshToken, openid: ours } = answer.json()
  return { openid: ours, token, refreshToken, headers: { authorization: `Bearer ${token}` } }
}
