/** The process itself: it starts with right settings only, serves, and stops in order. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { freePort } from '../tools/free-port.ts'
import { APPID, type Environment, sharedRedis } from './helper.ts'
import { head, RawConnection } from './raw-http.ts'

const ROOT = join(import.meta.dirname, '..')
/** On a machine with other work to do. */
const START_PATIENCE_MS = 60_000

const environment = async (): Promise<Environment> => ({
  PORT: String(await freePort()),
  PUBLIC_URL: 'https://wx.example.test',
  REDIS_URL: (await sharedRedis()).url,
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  JWT_SECRET: randomBytes(32).toString('hex'),
  WECHAT_APPID: APPID,
  WECHAT_SECRET: randomBytes(16).toString('hex')
})

function start(t: Test, args: string[], env: Environment): ChildProcess {
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { PATH: process.env.PATH, ...env } })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

async function untilReady(port: string | undefined): Promise<unknown> {
  const giveUpAt = Date.now() + START_PATIENCE_MS
  while (Date.now() < giveUpAt) {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined)
    if (answer?.ok) return answer.json()
    await pause(50)
  }
  throw new Error('it did not become ready')
}

t.test('npm start serves, writes its log out, and ends with 0 when told to', async (t) => {
  const env = await environment()
  const child = start(t, ['--expose-gc', 'start.js'], env)
  const log = child.stdout && text(child.stdout)
  t.same(await untilReady(env.PORT), { ok: 1 })
  const answer = await fetch(`http://127.0.0.1:${env.PORT}/api/test`)
  t.same(await answer.json(), { ok: 1 })
  child.kill('SIGTERM')
  const [status] = await once(child, 'exit')
  t.equal(status, 0)
  t.match(
    await log,
    /"route":"GET \/api\/test","status":200/,
    'the last line is there, though lines are held back a moment'
  )
})

t.test('requests that announce a body and have none are no reason to stay', async (t) => {
  const env = await environment()
  const child = start(t, ['server.ts'], env)
  await untilReady(env.PORT)
  const bare = (door: string) => head(`${door} HTTP/1.1`, 'Host: x', 'Content-Type: application/json')
  const connections = ['POST /api/login', 'POST /nowhere', 'POST /wechat/pay/v2/1900000109/notify'].map((door) =>
    new RawConnection(Number(env.PORT)).send(bare(door))
  )
  const [login] = await Promise.all(connections.map(async ({ socket }) => String(await once(socket, 'data'))))
  t.match(login, /^HTTP\/1.1 400 /)
  child.kill('SIGTERM')
  const [[status]] = await Promise.all([once(child, 'exit'), ...connections.map((connection) => connection.answers())])
  t.equal(status, 0)
})

t.test('wrong settings stop the start: every fault by name, no value, status 1', async (t) => {
  const env = { ...(await environment()), PORT: 'eighty', JWT_SECRET: 'much-too-short', WECHAT_SECRET: undefined }
  const child = start(t, ['server.ts'], env)
  const complaint = child.stderr && text(child.stderr)
  const [status] = await once(child, 'exit')
  t.equal(status, 1)
  const lines = (await complaint)?.split('\n') ?? []
  for (const name of ['PORT', 'JWT_SECRET', 'WECHAT_SECRET'])
    t.ok(
      lines.some((line) => line.startsWith(`${name} `)),
      name
    )
  t.notMatch(lines.join(), /eighty|much-too-short/)
})

t.test('settings that this version does not serve stop the start too', async (t) => {
  const env = { ...(await environment()), REDIS_URL: 'redis+cluster://127.0.0.1:1' }
  const child = start(t, ['server.ts'], env)
  const complaint = child.stderr && text(child.stderr)
  const [status] = await once(child, 'exit')
  t.equal(status, 1)
  t.match(await complaint, /^REDIS_URL names Sentinel or Cluster/m)
})
