/** If REDIS_URL leads to something unusable, the start ends with one line. If Redis is down, the start waits. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import wxgate, { serverOptions } from '../../../app.ts'
import { readSettings } from '../../../lib/settings.ts'
import { endChild, hasEnded, spawnBound } from '../../../tools/child.ts'
import { freePort } from '../../../tools/free-port.ts'
import { need } from '../../../tools/need.ts'
import { type RedisOptions, startRedis } from '../../../tools/redis.ts'
import { build, logIn } from '../../helper.ts'
import { listenRaw } from '../../listen.ts'
import { startRedisWay } from '../../redis-way.ts'
import { get, refused, until } from '../../routes/api/client.ts'

const ROOT = join(import.meta.dirname, '../../..')

async function start(t: Test, options: RedisOptions = {}) {
  const server = await startRedis({ ...options, tcp: true })
  t.teardown(() => server.stop())
  const admin = new Redis(server.url)
  t.teardown(() => admin.disconnect())
  return { server, admin, url: server.url }
}

/** Answers each chunk with the result of `answer`; undefined closes the connection. */
async function startStranger(t: Test, answer: (asked: string) => string | undefined): Promise<string> {
  const { port } = await listenRaw(t, (socket) =>
    socket.on('data', (chunk) => {
      const answered = answer(chunk.toString('latin1'))
      if (answered === undefined) socket.destroy()
      else socket.write(answered)
    })
  )
  return `redis://127.0.0.1:${port}`
}

const INFO_OF_SIX = 'redis_version:6.2.6\r\nredis_mode:standalone\r\nrole:master\r\n'

/** As much of an old Redis as a start asks of it. */
const six = (asked: string): string =>
  [...asked.matchAll(/\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n/g)]
    .map(([, name = '']) => ({ info: `$${INFO_OF_SIX.length}\r\n${INFO_OF_SIX}\r\n` })[name.toLowerCase()] ?? ':1\r\n')
    .join('')

/** Tries another port if this one is taken meanwhile. */
async function startSentinel(t: Test): Promise<string> {
  return (await trySentinel(t)) ?? startSentinel(t)
}

/** undefined: it ended before it answered. */
async function trySentinel(t: Test): Promise<string | undefined> {
  const [home, port] = [mkdtempSync(join(tmpdir(), 'wxgate-')), await freePort()]
  writeFileSync(join(home, 's.conf'), `port ${port}\ndir ${home}\nlogfile ${home}/log\n`)
  const child = spawnBound(need('redis-server'), [join(home, 's.conf'), '--sentinel'], { stdio: 'ignore' })
  t.teardown(async () => {
    await endChild(child, 'SIGKILL')
    rmSync(home, { recursive: true })
  })
  const asked = new Redis(port, { retryStrategy: () => 50, commandTimeout: 1000 }).on('error', () => undefined)
  const answers = async () => (await asked.info().catch(() => '')).includes('sentinel')
  await until(async () => hasEnded(child) || (await answers()))
  asked.disconnect()
  return hasEnded(child) ? undefined : `redis://127.0.0.1:${port}`
}

t.test('what REDIS_URL leads to ends the start with one line, and no word of the password', async (t) => {
  const { url, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>right', '~*', '+@all')
  await admin.call('ACL', 'SETUSER', 'off', 'off', '>right', '~*', '+@all')
  const as = (user: string) => url.replace('//', `//${user}@`)
  const locked = await start(t)
  await locked.admin.config('SET', 'requirepass', 'right')
  const cluster = await start(t, { args: ['--cluster-enabled', 'yes', '--cluster-require-full-coverage', 'no'] })
  await cluster.admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, 100)
  const stranger = await startStranger(t, () => 'HTTP/1.1 400 Bad Request\r\n\r\n')
  const table: [what: string, url: string, line: RegExp][] = [
    ['a wrong password', as('app:wrong'), /refuses the user or the password of REDIS_URL \(WRONGPASS\)$/],
    ['an unknown user', as('nobody:right'), /refuses the user or the password/],
    ['a user that is off', as('off:right'), /refuses the user or the password/],
    ['no password', locked.url, /asks for a password: REDIS_URL has none \(NOAUTH\)$/],
    ['no such database', `${url}/99`, /does not have the database of REDIS_URL \(DATABASE\)$/],
    ['a database of a cluster', `${cluster.url}/1`, /does not have the database of REDIS_URL/],
    ['an old Redis', await startStranger(t, six), /is Redis 6\.2\.6; at least 7\.0 is needed \(VERSION\)$/],
    ['a Sentinel', await startSentinel(t), /Sentinel/],
    ['a Sentinel with a database', `${await startSentinel(t)}/1`, /Sentinel/],
    ['no Redis', stranger, /does not speak the protocol of Redis \(PROTOCOL\)$/]
  ]
  for (const [what, REDIS_URL, line] of table) {
    const started = await build(t, { env: { REDIS_URL } }).catch((error: Error) => error)
    t.match(started, { name: 'SettingsError', message: line }, what)
    t.match(started, { message: /^REDIS_URL names 127\.0\.0\.1:\d+, which [^\n]+$/ }, `${what}: one line`)
    t.notMatch(String((started as Error).message), /right|wrong/)
  }
})

t.test('what cannot be a database is seen before Redis is asked', async (t) => {
  const { url } = await start(t)
  for (const wrong of [
    `${url}/abc`,
    `${url}/-1`,
    `${url}/1.5`,
    `${url}/0x1`,
    `${url}?db=1`,
    `${url}/1/2`,
    'unix:/x?db=1'
  ])
    await t.rejects(build(t, { env: { REDIS_URL: wrong } }), { name: 'SettingsError', message: /^REDIS_URL / }, wrong)
})

t.test('a Redis that is away, or not to be found, is waited for, and the log says which and why', async (t) => {
  const { url } = await start(t)
  const table: [what: string, url: string, cause: RegExp, detail: RegExp][] = [
    [
      'an unknown host',
      'redis://:pass@nowhere.invalid:6379',
      /ENOTFOUND|EAI_AGAIN/,
      /^nowhere\.invalid:6379 is no host/
    ],
    ['a closed port', 'redis://u:pass@127.0.0.1:1', /ECONNREFUSED/, /^127\.0\.0\.1:1 refuses connections/],
    ['no socket', 'unix:/nowhere/redis.sock', /ENOENT/, /^\/nowhere\/redis\.sock is no socket/],
    [
      'TLS where there is none',
      url.replace('redis:', 'rediss:'),
      /ERR_SSL|EPROTO|TIMEOUT|ETIMEDOUT|CLOSED|ECONNRESET/,
      / /
    ],
    ['TLS expected', await startStranger(t, () => undefined), /CLOSED|ECONNRESET|EPIPE/, /rediss:/],
    ['silence', await startStranger(t, () => ''), /TIMEOUT/, /is silent/]
  ]
  for (const [what, REDIS_URL, cause, detail] of table) {
    const world = await build(t, { env: { REDIS_URL } })
    const [line = '{}'] = world
      .logs()
      .split('\n')
      .filter((each) => each.includes('Redis cannot be used'))
    t.match(JSON.parse(line), { level: 50, cause, detail }, what)
    t.notMatch(world.logs(), /pass@|:pass/)
    refused(t, await get(world.app, '/readyz'), 503, 'REDIS_UNAVAILABLE')
    await world.app.close()
  }
})

t.test('a Redis with fewer databases that comes later is not ready, and its database 0 stays untouched', async (t) => {
  const many = await start(t)
  const few = await start(t, { args: ['--databases', '1'] })
  const way = await startRedisWay(t, many.server)
  const world = await build(t, { env: { REDIS_URL: `${way.url}/3` } })
  const { headers } = await logIn(world.app, world.sandbox)
  way.leadTo(few.server)
  many.server.kill()
  await until(async () => /"cause":"DATABASE"/.test(world.logs()))
  for (let time = 0; time < 3; time += 1) {
    refused(t, await get(world.app, '/readyz'), 503, 'REDIS_UNAVAILABLE')
    refused(t, await get(world.app, '/api/session', headers), 503, 'REDIS_UNAVAILABLE')
  }
  t.equal(await few.admin.dbsize(), 0)
  way.leadTo((await start(t)).server)
  await until(async () => (await get(world.app, '/readyz')).statusCode === 200)
})

t.test('a node of a Redis Cluster that has a part of the keys is none for us', async (t) => {
  const { url, admin } = await start(t, { args: ['--cluster-enabled', 'yes'] })
  await admin.config('SET', 'cluster-require-full-coverage', 'no')
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, 5460)
  const world = await build(t, { env: { REDIS_URL: url } })
  refused(t, await get(world.app, '/readyz'), 503, 'REDIS_UNAVAILABLE')
  t.match(world.logs(), /"cause":"CLUSTERDOWN"/)
})

t.test('an eviction policy that throws events away is told of, as a line of our own', async (t) => {
  const { url } = await start(t, { args: ['--maxmemory-policy', 'allkeys-lru'] })
  const world = await build(t, { env: { REDIS_URL: url } })
  const lines = world
    .logs()
    .split('\n')
    .filter((line) => line.includes('maxmemory-policy'))
  t.equal(lines.length, 1)
  t.match(JSON.parse(lines[0] ?? '{}'), { level: 40, policy: 'allkeys-lru', msg: /set maxmemory-policy noeviction/ })
})

t.test(
  'a process whose Redis tells nothing of itself serves, writes lines of JSON alone, and ends when told to',
  async (t) => {
    const { url, admin } = await start(t, { args: ['--maxmemory-policy', 'allkeys-lru'] })
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>right', '~wxgate:*', '+@all', '-@dangerous')
    const { env } = await build(t)
    for (const user of ['', 'app:right@']) {
      const port = await freePort()
      const all = { ...env, PORT: String(port), REDIS_PREFIX: 'wxgate', REDIS_URL: url.replace('//', `//${user}`) }
      const child = spawn(process.execPath, ['server.ts'], { cwd: ROOT, env: { PATH: process.env.PATH, ...all } })
      t.teardown(() => child.kill('SIGKILL'))
      const [out, err] = [text(child.stdout), text(child.stderr)]
      await until(async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.ok === true)
      child.kill('SIGTERM')
      t.same(await once(child, 'exit'), [0, null], user)
      t.equal(await err, '')
      for (const line of (await out).trim().split('\n')) t.match(JSON.parse(line), { level: Number, msg: String }, line)
    }
  }
)

t.test('a service that is closed while it starts leaves no connection behind', async (t) => {
  const { admin, url } = await start(t)
  const { env } = await build(t)
  const connections = async () =>
    String(await admin.client('LIST'))
      .trim()
      .split('\n').length
  const before = await connections()
  const stops: Record<string, (app: FastifyInstance, register: () => void) => Promise<unknown>> = {
    'at once': (app, register) => {
      register()
      return app.close()
    },
    'while it gets ready': (app, register) => {
      register()
      return Promise.allSettled([app.ready(), app.close()])
    },
    'by another that is ready first': async (app, register) => {
      const { promise: closed, resolve } = Promise.withResolvers<void>()
      app.addHook('onReady', async () => void app.close().then(resolve))
      register()
      await Promise.allSettled([app.ready(), closed])
    }
  }
  for (const [when, stop] of Object.entries(stops)) {
    const settings = readSettings({ ...env, LOG_LEVEL: 'silent', REDIS_URL: url })
    const app = fastify(serverOptions(settings))
    await stop(app, () => void app.register(wxgate, { settings }))
    await until(async () => (await connections()) === before)
    t.pass(when)
  }
})
