/** Everything that runs during a benchmark: Redis, WeChat, the gateway, the bare route, and the clients of both. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SandboxOptions } from '../sandbox/index.ts'
import { endChild, onExit } from '../tools/child.ts'
import { type PrivateRedis, startRedis } from '../tools/redis.ts'
import { type Load, openLoad } from './load.ts'
import type { Payee } from './notices.ts'
import { type Cores, chooseCores, moveTo } from './pin.ts'
import { type MeasuredServer, ROOT, startHelper, startServer } from './processes.ts'
import { ask } from './rpc.ts'
import type { UsersOfApp } from './wechat.ts'

export const REDIS_PREFIX = 'wxgate'

const APPID = 'wx0123456789abcdef'
const MCHID = '1900000109'

export interface WeChat {
  codes(openids: string[]): Promise<string[]>
  phones(openids: string[]): Promise<{ encryptedData: string; iv: string }[]>
}

/** A server, and those who call it. */
export interface Side {
  server: MeasuredServer
  load: Load
}

export interface World {
  cores: Cores | undefined
  redis: PrivateRedis
  wechat: WeChat
  payee: Payee
  gateway: Side
  bare: Side
  /** Gone with the run. */
  folder: string
  stop(): Promise<void>
}

const secret = (bytes: number) => randomBytes(bytes).toString('hex')

export async function startWorld(): Promise<World> {
  const cores = chooseCores()
  if (cores !== undefined) moveTo(cores.rest)
  const folder = temporaryFolder()
  const redis = await startRedis()
  const payee = { appid: APPID, mchid: MCHID, apiV2Key: secret(16) }
  const appSecret = secret(16)
  const wechat = startHelper(join(import.meta.dirname, 'wechat.ts'))
  const origin = await ask<string>(wechat, 'start', sandboxOptions(payee, appSecret))
  const about = { core: cores?.server, folder }
  const gateway = await startServer({
    ...about,
    args: startArguments(),
    env: gatewayEnvironment(redis.url, origin, payee, appSecret),
    readyPath: '/readyz'
  })
  const bare = await startServer({
    ...about,
    args: [join(import.meta.dirname, 'bare.ts')],
    env: {},
    readyPath: '/api/test'
  })
  const world = {
    gateway: { server: gateway, load: await openLoad(gateway.port) },
    bare: { server: bare, load: await openLoad(bare.port) }
  }
  return {
    ...world,
    cores,
    redis,
    payee,
    folder,
    wechat: {
      codes: (openids) => ask(wechat, 'codes', { appid: APPID, openids } satisfies UsersOfApp),
      phones: (openids) => ask(wechat, 'phones', { appid: APPID, openids } satisfies UsersOfApp)
    },
    async stop() {
      for (const { load } of Object.values(world)) load.close()
      await Promise.all([gateway.stop(), bare.stop(), endChild(wechat)])
      await redis.stop()
    }
  }
}

/** What `npm start` gives to Node.js: production and benchmark run the same. */
function startArguments(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const [node, ...args] = String(scripts.start).split(' ')
  if (node !== 'node') throw new Error(`npm start is not "node …" any more: ${scripts.start}`)
  return args
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wxgate-bench-'))
  onExit(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function sandboxOptions({ appid, mchid, apiV2Key }: Payee, appSecret: string): SandboxOptions {
  return {
    apps: [{ appid, secret: appSecret, unionids: true }],
    merchants: [{ mchid, apiV2Key, appids: [appid] }]
  }
}

/**
 * As in production, defaults wherever there is one. Clients here all have one address, so the limit for one client is out
 * of their reach: every request is counted, none refused. Without WEBHOOK_URL events stay in Redis, since delivering is a worker's time.
 */
function gatewayEnvironment(redisUrl: string, origin: string, payee: Payee, appSecret: string) {
  return {
    PUBLIC_URL: 'https://wx.example.test',
    REDIS_URL: redisUrl,
    REDIS_PREFIX,
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    JWT_SECRET: secret(32),
    WECHAT_APPID: payee.appid,
    WECHAT_SECRET: appSecret,
    WECHAT_PAY_MCHID: payee.mchid,
    WECHAT_PAY_API_V2_KEY: payee.apiV2Key,
    WECHAT_API_ORIGIN: origin,
    WECHAT_PAY_ORIGIN: origin,
    INTERNAL_API_KEYS: secret(24),
    RATE_LIMIT: '2147483647'
  }
}
