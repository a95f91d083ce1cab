/** Everything that runs during a benchmark: Redis, WeChat, the gateway, the bare route, and the clients of both. */
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EncryptionKey } from '../lib/crypto/seal.ts'
import type { SandboxMerchant, SandboxOptions } from '../sandbox/options.ts'
import { type MerchantSecrets, makeMerchant } from '../sandbox/throw-away.ts'
import { endChild, onExit } from '../tools/child.ts'
import { payEnvironment } from '../tools/pay-environment.ts'
import { type PrivateRedis, startRedis } from '../tools/redis.ts'
import { type Load, openLoad } from './load.ts'
import type { Payee } from './notices.ts'
import { type Cores, chooseCores, moveTo } from './pin.ts'
import { type MeasuredServer, ROOT, startHelper, startServer } from './processes.ts'
import type { PushAccount } from './pushes.ts'
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
  push: PushAccount
  gateway: Side
  /** A second gateway on the same Redis, whose tokens are signed by a key pair. */
  es256: Side
  bare: Side
  /** Hands bytes on to WeChat, and nothing else. */
  proxy: Side
  apiKey: string
  encryptionKey: EncryptionKey
  /** For whoever calls WeChat without the gateway. */
  accessToken: string
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
  const { merchant, secrets } = makeMerchant({ mchid: MCHID, appids: [APPID] })
  const push = { appid: APPID, token: secret(16), aesKey: `${secret(21)}0` }
  const appSecret = secret(16)
  const wechat = startHelper(join(import.meta.dirname, 'wechat.ts'))
  const origin = await ask<string>(wechat, 'start', {
    apps: [{ appid: APPID, secret: appSecret, unionids: true }],
    merchants: [merchant]
  } satisfies SandboxOptions)
  const about = { core: cores?.server, folder }
  const apiKey = secret(24)
  const encryptionKey = { id: 'k1', key: randomBytes(32) }
  const env = gatewayEnvironment({ redisUrl: redis.url, origin, secrets, push, appSecret, apiKey, encryptionKey })
  const startGateway = (more: Record<string, string>) =>
    startServer({ ...about, args: startArguments(), env: { ...env, ...more }, readyPath: '/readyz' })
  const gateway = await startGateway({ JWT_SECRET: secret(32) })
  const es256 = await startGateway({ JWT_KEYS: makeSigningKey() })
  const bare = await startServer({
    ...about,
    args: [join(import.meta.dirname, 'bare.ts')],
    env: {},
    readyPath: '/api/test'
  })
  const proxy = await startServer({
    ...about,
    args: [join(import.meta.dirname, 'proxy.ts')],
    env: { UPSTREAM: origin },
    readyPath: '/ready'
  })
  const sideOf = async (server: MeasuredServer): Promise<Side> => ({ server, load: await openLoad(server.port) })
  const sides = {
    gateway: await sideOf(gateway),
    es256: await sideOf(es256),
    bare: await sideOf(bare),
    proxy: await sideOf(proxy)
  }
  return {
    ...sides,
    cores,
    redis,
    payee: payeeOf(merchant, secrets),
    push,
    folder,
    apiKey,
    encryptionKey,
    accessToken: await askForToken(origin, APPID, appSecret),
    wechat: {
      codes: (openids) => ask(wechat, 'codes', { appid: APPID, openids } satisfies UsersOfApp),
      phones: (openids) => ask(wechat, 'phones', { appid: APPID, openids } satisfies UsersOfApp)
    },
    async stop() {
      for (const { load } of Object.values(sides)) load.close()
      await Promise.all([...Object.values(sides).map(({ server }) => server.stop()), endChild(wechat)])
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

function payeeOf({ v3 }: SandboxMerchant, { mchid, apiV2Key, apiV3Key }: MerchantSecrets): Payee {
  const { id = '', privateKeyPem = '' } = v3?.publicKey ?? {}
  return { appid: APPID, mchid, apiV2Key, apiV3Key, platform: { id, key: createPrivateKey(privateKeyPem) } }
}

/**
 * As in production: every setting with a default has it. All clients here have one address, so the limit for one client
 * is too high to reach: every request is counted, and none is refused. Without WEBHOOK_URL events stay in Redis,
 * because their delivery would cost time of a worker.
 */
function gatewayEnvironment({ redisUrl, origin, secrets, push, appSecret, apiKey, encryptionKey }: GatewayParts) {
  return {
    PUBLIC_URL: 'https://wx.example.test',
    REDIS_URL: redisUrl,
    REDIS_PREFIX,
    ENCRYPTION_KEYS: `${encryptionKey.id}:${encryptionKey.key.toString('base64')}`,
    WECHAT_APPID: push.appid,
    WECHAT_SECRET: appSecret,
    WECHAT_PUSH_TOKEN: push.token,
    WECHAT_PUSH_AES_KEY: push.aesKey,
    ...payEnvironment(secrets),
    WECHAT_API_ORIGIN: origin,
    WECHAT_PAY_ORIGIN: origin,
    INTERNAL_API_KEYS: apiKey,
    RATE_LIMIT: '2147483647'
  }
}

interface GatewayParts {
  redisUrl: string
  origin: string
  secrets: MerchantSecrets
  push: PushAccount
  appSecret: string
  apiKey: string
  encryptionKey: EncryptionKey
}

const makeSigningKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

async function askForToken(origin: string, appid: string, appSecret: string): Promise<string> {
  const body = JSON.stringify({ grant_type: 'client_credential', appid, secret: appSecret })
  const answer = await fetch(`${origin}/cgi-bin/stable_token`, { method: 'POST', body })
  return ((await answer.json()) as { access_token: string }).access_token
}
