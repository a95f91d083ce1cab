/** The gateway as a process of its own, as `npm start` runs it, for tests of how it starts, logs and ends. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from '../tools/free-port.ts'
import { APPID, type Environment, sharedRedis } from './helper.ts'

const ROOT = join(import.meta.dirname, '..')
const START_PATIENCE_MS = 60_000

/** The least that a start needs, on a free port. */
export const leastEnvironment = async (): Promise<Environment> => ({
  PORT: String(await freePort()),
  PUBLIC_URL: 'https://wx.example.test',
  REDIS_URL: (await sharedRedis()).url,
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  JWT_SECRET: randomBytes(32).toString('hex'),
  WECHAT_APPID: APPID,
  WECHAT_SECRET: randomBytes(16).toString('hex')
})

/** Runs `command`; it ends with the test. Nothing of our own environment reaches it but PATH. */
export function run(
  t: Test,
  command: string,
  args: string[],
  env: Environment,
  options: SpawnOptions = {}
): ChildProcess {
  const child = spawn(command, args, { cwd: ROOT, env: { PATH: process.env.PATH, ...env }, ...options })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** Runs Node.js with `args`. */
export const runNode = (t: Test, args: string[], env: Environment, options?: SpawnOptions): ChildProcess =>
  run(t, process.execPath, args, env, options)

/** What a process that ends by itself says until then. */
export async function outcome(child: ChildProcess): Promise<{ status: number | null; out: string; err: string }> {
  const said = [child.stdout, child.stderr].map((stream) => (stream ? text(stream) : ''))
  const [status] = await once(child, 'exit')
  const [out = '', err = ''] = await Promise.all(said)
  return { status, out, err }
}

/** Resolves with the answer of /readyz once it is 200. */
export async function untilReady(port: string | undefined): Promise<unknown> {
  const giveUpAt = Date.now() + START_PATIENCE_MS
  while (Date.now() < giveUpAt) {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined)
    if (answer?.ok) return answer.json()
    await pause(50)
  }
  throw new Error('it did not become ready')
}
