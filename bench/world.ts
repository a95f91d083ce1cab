/** Everything that runs during a benchmark: Redis, WeChat, the gateway, the bare route, and the clients of both. */
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { EncryptionKey } from '../lib/crypto/seal.ts'
import type { SandboxMerchant, SandboxOptions } from '../sandbox/options.ts'
import { type MerchantSecrets, makeMerchant } from '../sandbox/throw-away.ts'
import { endChild, onExit } from '../tools/child.ts'
import { payEnvironment } from '../tools/pay-environment.ts'
import { type PrivateRedis, startRedis } from '../tools/redis.ts'
import { Floor } from './floor-side.ts'
import { openLoad } from './load.ts'
import type { Side } from './measure.ts'
import type { Payee } from './notices.ts'
import { type Cores, chooseCores, moveTo } from './pin.ts'
import { ROOT, type ServerOptions, startHelper, startServer } from './processes.ts'
import type { PushAccount } from './pushes.ts'
import { redisMicroseconds } from './redis-cpu.ts'
import { ask } from './rpc.ts'
import type { UsersOfApp } from './wechat.ts'

export const REDIS_PREFIX = 'wxgate'

const APPID = 'wx0123456789abcdef'
const MCHID = '1900000109'

export interface WeChat {
  codes(openids: string[]): Promise<string[]>
  phones(openids: string[]): Promise<{ encryptedData: string; iv: string }[]>
}

export interface Sides {
  gateway: Side
  /** A second gateway on the same Redis, whose tokens are signed by a key pair. */
  es256: Side
  bare: Side
  /** Hands bytes on to WeChat, and nothing else. */
  proxy: Side
  /** Does the same work as the gateway, for what it costs at least. */
  floor: Floor
  /** One more gateway like the first, which the caller stops. */
  startGateway(): Promise<Side>
}

export interface World extends Sides {
  cores: Cores | undefined
  redis: PrivateRedis
  wechat: WeChat
  payee: Payee
  push: PushAccount
  apiKey: string
  encryptionKey: EncryptionKey
  /** For whoever calls WeChat without the gateway. */
  accessToken: string
  /** Gone with the run. */
  folder: string
  stop(): Promise<void>
}

/** Of an app and a merchant that belong to nobody. */
interface Accounts {
  merchant: SandboxMerchant
  secrets: MerchantSecrets
  push: PushAccount
  appSecret: string
  apiKey: string
  encryptionKey: EncryptionKey
}

type StartOptions = Pick<ServerOptions, 'args' | 'env' | 'readyPath'>

const script = (name: string): string => join(import.meta.dirname, name)
const secret = (bytes: number) => randomBytes(bytes).toString('hex')

export async function startWorld(): Promise<World> {
  const cores = chooseCores()
  if (cores !== undefined) moveTo(cores.rest)
  const folder = temporaryFolder()
  const redis = await startRedis()
  const connection = new Redis({ path: redis.socket })
  const accounts = makeAccounts()
  const wechat = startHelper(script('wechat.ts'))
  const origin = await ask<string>(wechat, 'start', sandboxOptions(accounts))
  const accessToken = await askForToken(origin, APPID, accounts.appSecret)
  const sides = await startSides(starterOf({ core: cores?.server, folder }), {
    accounts,
    origin,
    accessToken,
    redisUrl: redis.url,
    microseconds: () => redisMicroseconds(connection)
  })
  const { merchant, secrets, push, apiKey, encryptionKey } = accounts
  return {
    ...sides,
    cores,
    redis,
    payee: payeeOf(merchant, secrets),
    push,
    folder,
    apiKey,
    encryptionKey,
    accessToken,
    wechat: {
      codes: (openids) => ask(wechat, 'codes', { appid: APPID, openids } satisfies UsersOfApp),
      phones: (openids) => ask(wechat, 'phones', { appid: APPID, openids } satisfies UsersOfApp)
    },
    async stop() {
      await stopSides(sides)
      await endChild(wechat)
      connection.disconnect()
      await redis.stop()
    }
  }
}

/** Starts a server, and opens the connections of those who call it. */
const starterOf =
  (about: Pick<ServerOptions, 'core' | 'folder'>) =>
  async (options: StartOptions, microseconds: Side['redisMicroseconds'] = async () => 0): Promise<Side> => {
    const server = await startServer({ ...about, ...options })
    return { server, load: await openLoad(server.port), redisMicroseconds: microseconds }
  }

interface Surroundings {
  accounts: Accounts
  /** WeChat's. */
  origin: string
  accessToken: string
  redisUrl: string
  /** Of that Redis. */
  microseconds: Side['redisMicroseconds']
}

async function startSides(
  start: ReturnType<typeof starterOf>,
  { accounts, origin, accessToken, redisUrl, microseconds }: Surroundings
): Promise<Sides> {
  const privateKey = makeSigningKey()
  const shared = { JWT_SECRET: secret(32) }
  const env = gatewayEnvironment(redisUrl, origin, accounts)
  const startGateway = (more: Record<string, string>) =>
    start({ args: startArguments(), env: { ...env, ...more }, readyPath: '/readyz' }, microseconds)
  return {
    startGateway: () => startGateway(shared),
    gateway: await startGateway(shared),
    es256: await startGateway({ JWT_KEYS: privateKey }),
    bare: await start({ args: [script('bare.ts')], env: {}, readyPath: '/api/test' }),
    proxy: await start({ args: [script('proxy.ts')], env: { UPSTREAM: origin }, readyPath: '/ready' }),
    floor: await Floor.start(
      floorEnvironment(origin, accessToken, accounts),
      { secret: secret(32), privateKey },
      (floorEnv, ofFloor) => start({ args: [script('floor.ts')], env: floorEnv, readyPath: '/api/test' }, ofFloor)
    )
  }
}

async function stopSides({ floor, startGateway: _, ...others }: Sides): Promise<void> {
  const all = [...Object.values(others), floor.side, floor.es256]
  for (const { load } of all) load.close()
  await Promise.all(all.map(({ server }) => server.stop()))
  await floor.stop()
}

const makeAccounts = (): Accounts => ({
  ...makeMerchant({ mchid: MCHID, appids: [APPID] }),
  push: { appid: APPID, token: secret(16), aesKey: `${secret(21)}0` },
  appSecret: secret(16),
  apiKey: secret(24),
  encryptionKey: { id: 'k1', key: randomBytes(32) }
})

const sandboxOptions = ({ appSecret, merchant }: Accounts): SandboxOptions => ({
  apps: [{ appid: APPID, secret: appSecret, unionids: true }],
  merchants: [merchant]
})

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
function gatewayEnvironment(redisUrl: string, origin: string, accounts: Accounts) {
  const { secrets, push, appSecret, apiKey, encryptionKey } = accounts
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

function floorEnvironment(
  origin: string,
  accessToken: string,
  { secrets, push, appSecret, apiKey, encryptionKey }: Accounts
): Parameters<typeof Floor.start>[0] {
  return {
    UPSTREAM: origin,
    APPID: push.appid,
    APP_SECRET: appSecret,
    ACCESS_TOKEN: accessToken,
    API_KEY: apiKey,
    MCHID: secrets.mchid,
    API_V2_KEY: secrets.apiV2Key,
    API_V3_KEY: secrets.apiV3Key,
    PUBLIC_KEY: secrets.publicKeyPem ?? '',
    PUSH_TOKEN: push.token,
    PUSH_AES_KEY: push.aesKey,
    ENCRYPTION_KEY: encryptionKey.key.toString('base64')
  }
}

const makeSigningKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

async function askForToken(origin: string, appid: string, appSecret: string): Promise<string> {
  const body = JSON.stringify({ grant_type: 'client_credential', appid, secret: appSecret })
  const answer = await fetch(`${origin}/cgi-bin/stable_token`, { method: 'POST', body })
  return ((await answer.json()) as { access_token: string }).access_token
}
