/**
 * A private world to try the gateway in: a Redis of its own, WeChat's sandbox, a merchant's backend, throw-away keys,
 * and the gateway itself.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startBackend } from '../sandbox/backend.ts'
import { makeMerchant, startSandbox } from '../sandbox/index.ts'
import { freePort } from './free-port.ts'
import { payEnvironment } from './pay-environment.ts'
import { startRedis } from './redis.ts'

const ROOT = join(import.meta.dirname, '..')
/** On a machine with other work to do. */
const START_PATIENCE_MS = 60_000

/** What somebody outside needs to know to use a running world. */
export interface DevWorld {
  gateway: string
  sandbox: string
  backend: string
  appid: string
  mchid: string
  apiKey: string
}

export interface RunningWorld extends DevWorld {
  server: ChildProcess
  stop(): Promise<void>
}

/** Where a running `npm run dev` says how to reach it: readable by its owner only, gone when it stops. */
export const NOTE = join(ROOT, '.dev', 'world.json')

export interface DevWorldOptions {
  /** 0: any free one. */
  port: number
  /** Where the gateway's log goes. */
  log: 'inherit' | 'ignore' | 'pipe'
}

const randomHex = (bytes: number) => randomBytes(bytes).toString('hex')

/** P-256: every library can verify it by the keys at /.well-known/jwks.json. */
const signingKey = () =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** 43 letters and digits, as the console makes it. */
const encodingAesKey = () => randomHex(22).slice(0, 43)

export async function startDevWorld({ port, log }: DevWorldOptions): Promise<RunningWorld> {
  const appid = 'wx0123456789abcdef'
  const push = { token: randomHex(16), aesKey: encodingAesKey() }
  const app = { appid, secret: randomHex(16), unionids: true, push }
  const { merchant, secrets } = makeMerchant({ appids: [appid] })
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const apiKey = randomHex(24)
  const redis = await startRedis()
  const sandbox = await startSandbox({ apps: [app], merchants: [merchant] })
  const backend = await startBackend({ secret: webhookSecret })
  // Last, since what listens on any free port could take this one.
  const gatewayPort = port === 0 ? await freePort() : port
  const gateway = `http://127.0.0.1:${gatewayPort}`

  const server = spawn(process.execPath, [join(ROOT, 'server.ts')], {
    stdio: ['ignore', log, 'inherit'],
    env: {
      PATH: process.env.PATH,
      PORT: String(gatewayPort),
      PUBLIC_URL: gateway,
      REDIS_URL: redis.url,
      ENCRYPTION_KEYS: `dev:${randomBytes(32).toString('base64')}`,
      JWT_KEYS: signingKey(),
      WECHAT_APPID: appid,
      WECHAT_SECRET: app.secret,
      WECHAT_PUSH_TOKEN: push.token,
      WECHAT_PUSH_AES_KEY: push.aesKey,
      ...payEnvironment(secrets),
      WECHAT_API_ORIGIN: sandbox.origin,
      WECHAT_PAY_ORIGIN: sandbox.origin,
      INTERNAL_API_KEYS: apiKey,
      DOCS: 'on',
      WEBHOOK_URL: backend.webhookUrl,
      WEBHOOK_SECRET: webhookSecret
    }
  })

  const stop = async () => {
    rmSync(NOTE, { force: true })
    if (server.exitCode === null && server.signalCode === null) {
      server.kill('SIGTERM')
      await once(server, 'exit')
    }
    await Promise.all([sandbox.close(), backend.close()])
    await redis.stop()
  }

  try {
    await answers(server, `${gateway}/readyz`)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    gateway,
    sandbox: sandbox.origin,
    backend: backend.origin,
    appid,
    mchid: merchant.mchid,
    apiKey,
    server,
    stop
  }
}

/** Leaves the note that `npm run tour` looks for. */
export function leaveNote({ gateway, sandbox, backend, appid, mchid, apiKey }: DevWorld): void {
  mkdirSync(join(ROOT, '.dev'), { recursive: true, mode: 0o700 })
  writeFileSync(NOTE, JSON.stringify({ gateway, sandbox, backend, appid, mchid, apiKey }), { mode: 0o600 })
}

async function answers(server: ChildProcess, url: string): Promise<void> {
  for (const giveUpAt = Date.now() + START_PATIENCE_MS; Date.now() < giveUpAt; await pause(50)) {
    if (server.exitCode !== null) throw new Error(`the gateway stopped at its start, with status ${server.exitCode}`)
    const ok = await fetch(url).then(
      (answer) => answer.ok,
      () => false
    )
    if (ok) return
  }
  throw new Error(`the gateway did not answer at ${url} within ${START_PATIENCE_MS / 1000} s`)
}
