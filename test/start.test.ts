/** A start says what is on, or why it cannot be, in one line; what the process has to say is in the log. */
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { explainFailure } from '../lib/start/failure.ts'
import { leastEnvironment, outcome, runNode, untilReady } from './gateway-process.ts'
import { type Environment, MCHID, sharedRedis } from './helper.ts'
import { listenRaw } from './listen.ts'
import { startRedisWay } from './redis-way.ts'
import { until } from './routes/api/client.ts'

/** Runs in the process before the gateway does. */
const preload = (code: string): string[] => [`--import=data:text/javascript,${encodeURIComponent(code)}`, 'server.ts']

interface Case {
  change(t: Test): Promise<Environment>
  args?: string[]
  line: RegExp
}

/** A port of 127.0.0.1 that somebody listens on. */
async function takenPort(t: Test): Promise<string> {
  return String((await listenRaw(t)).port)
}

const CASES: Record<string, Case> = {
  'a port that is taken while Redis is away': {
    change: async (t) => ({ PORT: await takenPort(t), REDIS_URL: 'redis://127.0.0.1:1', EVENT_DURABILITY: 'fsync' }),
    line: /^PORT \d+ of 127\.0\.0\.1 is taken/
  },
  'a port that is taken, with a worker': {
    change: async (t) => ({
      PORT: await takenPort(t),
      WEBHOOK_URL: 'http://127.0.0.1:1/',
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`
    }),
    line: /^PORT \d+ of 127\.0\.0\.1 is taken/
  },
  'a host of another machine': {
    change: async () => ({ HOST: '203.0.113.7' }),
    line: /^HOST 203\.0\.113\.7 is no address of this machine; 0\.0\.0\.0 /
  },
  'a host that nobody knows': {
    change: async () => ({ HOST: 'no-such-host.invalid' }),
    line: /^HOST no-such-host\.invalid is a name that leads to no address/
  },
  'an error that nobody foresaw': {
    change: async () => ({}),
    args: preload(`import net from 'node:net'
      const text = ['a', 'secret'].join('-')
      net.Server.prototype.listen = () => { throw Object.assign(new TypeError(text), { code: 'ERR_ODD' }) }`),
    line: /^TypeError \(ERR_ODD\) at .*: nobody foresaw this, please report it$/
  }
}

for (const [kind, { change, args = ['server.ts'], line }] of Object.entries(CASES)) {
  t.test(`a start that fails says why in one line and ends with 1: ${kind}`, async (t) => {
    const env = { ...(await leastEnvironment()), ...(await change(t)) }
    const { status, out, err } = await outcome(runNode(t, args, env))
    t.equal(status, 1)
    const [head, reason = '', ...rest] = err.split('\n')
    t.equal(head, 'wxgate cannot start:')
    t.match(reason, line)
    t.same(rest, [''])
    t.notMatch(out + err, /a-secret/)
  })
}

t.test('explainFailure() has a line for whatever listening may meet', async (t) => {
  const at = { host: '127.0.0.1', port: 80 }
  for (const [code, line] of Object.entries({
    EACCES: /^PORT 80 needs a right/,
    EAFNOSUPPORT: /^HOST 127\.0\.0\.1 is no address/,
    EAI_AGAIN: /^HOST 127\.0\.0\.1 is a name/,
    EMFILE: /^Error \(EMFILE in listen\) at .*: nobody foresaw this/
  }))
    t.match(explainFailure(Object.assign(new Error('a-secret'), { code, syscall: 'listen' }), at), line)
  t.match(
    explainFailure(Object.assign(new Error('a-secret'), { code: 'EACCES', syscall: 'open' }), at),
    /^Error \(EACCES in open\)/
  )
  const timeout = Object.assign(new Error('Plugin did not start\n in time'), { code: 'AVV_ERR_PLUGIN_EXEC_TIMEOUT' })
  t.equal(explainFailure(timeout, at), 'AVV_ERR_PLUGIN_EXEC_TIMEOUT: Plugin did not start in time')
  for (const thrown of [undefined, null, 'a-secret', { message: 'a-secret' }])
    t.equal(explainFailure(thrown, at), 'something was thrown that is no error; please report this')
})

interface Line {
  level: number
  msg: string
  [fact: string]: unknown
}

const linesOf = (log: string): Line[] =>
  log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

t.test('a start says in one line what is on, and names variables that are set in vain', async (t) => {
  const env: Environment = {
    ...(await leastEnvironment()),
    WECHAT_PAY_MCHID: MCHID,
    WECHAT_PAY_API_V2_KEY: 'k'.repeat(32),
    INTERNAL_API_KEYS: 'i'.repeat(40),
    DOCS: 'on',
    WEBHOOK_URL: 'https://shop.example.test/hooks?token=a-secret',
    WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
    HTTPS_PROXY: 'http://wxgate:a-secret@egress.example.test:3128',
    HTTP_PROXY: 'http://wxgate:a-secret@egress.example.test:3128',
    INTERNAL_API_KEY: 'a-secret',
    ALERT_URL: 'https://alert.example.test/a-secret'
  }
  const child = runNode(t, ['server.ts'], env)
  const end = outcome(child)
  await untilReady(env.PORT)
  child.kill('SIGTERM')
  const { status, out, err } = await end
  t.same([status, err], [0, ''])
  const lines = linesOf(out)
  const [summary, ...more] = lines.filter(({ msg }) => msg === 'wxgate is on')
  t.equal(more.length, 0)
  t.match(summary, {
    level: 30,
    apps: [env.WECHAT_APPID],
    merchants: [`${MCHID} (v2)`],
    roles: ['api', 'worker'],
    doors: ['api', 'wechat', 'internal', 'metrics', 'docs'],
    receiver: 'shop.example.test',
    proxies: ['egress.example.test:3128'],
    redis: /^(?:Redis|Valkey) \d+\.\d+\S*, single, persistence none$/,
    durability: 'redis',
    rateLimit: '600/min'
  })
  const inVain = lines.filter(({ level, name }) => level === 40 && name !== undefined)
  t.match(inVain, [{ name: 'INTERNAL_API_KEY', meant: 'INTERNAL_API_KEYS' }, { name: 'ALERT_URL' }])
  for (const secret of [
    'a-secret',
    'k'.repeat(32),
    'i'.repeat(40),
    env.JWT_SECRET,
    env.WECHAT_SECRET,
    env.WEBHOOK_SECRET
  ])
    t.notOk(out.includes(secret ?? ''), 'without secrets')
})

/** What the process does at SIGWINCH, which nothing else listens to. */
const atSignal = (code: string): string[] => preload(`process.once('SIGWINCH', () => { ${code} })`)

t.test('warnings of Node.js and of libraries are lines of the log', async (t) => {
  const env = await leastEnvironment()
  const code = `process.emitWarning('of redis://user:a-secret@host', { type: 'DeprecationWarning', code: 'DEP0170' })`
  const child = runNode(t, atSignal(code), env)
  const end = outcome(child)
  await untilReady(env.PORT)
  child.kill('SIGWINCH')
  await pause(100)
  child.kill('SIGTERM')
  const { status, out, err } = await end
  t.same([status, err], [0, ''])
  const warning = linesOf(out).find(({ cause }) => cause === 'DeprecationWarning')
  t.match(warning, { level: 40, code: 'DEP0170', detail: 'of (a URL)' })
})

const CRASHES: Record<string, [code: string, cause: string]> = {
  'an error that nobody caught': [`throw new RangeError(['a', 'secret'].join('-'))`, 'RangeError'],
  'a promise rejected with nothing': ['Promise.reject()', 'undefined'],
  'null that was thrown': ['throw null', 'object']
}

for (const [kind, [code, cause]] of Object.entries(CRASHES)) {
  t.test(`one fatal line in the log, and an end with 1: ${kind}`, async (t) => {
    const env = await leastEnvironment()
    const child = runNode(t, atSignal(code), env)
    const err = child.stderr && text(child.stderr)
    const out = child.stdout && text(child.stdout)
    await untilReady(env.PORT)
    child.kill('SIGWINCH')
    const [status] = await once(child, 'exit')
    t.same([status, await err], [1, ''])
    const log = (await out) ?? ''
    const fatal = linesOf(log).filter(({ level }) => level === 60)
    t.match(fatal, [{ cause, msg: 'stopping after an error' }])
    t.equal(fatal.length, 1)
    t.notMatch(log, /a-secret/)
  })
}

t.test('a start on a machine that stands still for longer than Fastify waits goes on', async (t) => {
  const way = await startRedisWay(t, await sharedRedis())
  const env: Environment = { ...(await leastEnvironment()), REDIS_URL: way.url }
  const child = runNode(t, ['server.ts'], env)
  await until(async () => way.made() > 0)
  child.kill('SIGSTOP')
  await pause(10_500)
  child.kill('SIGCONT')
  t.same(await untilReady(env.PORT), { ok: 1 })
  t.equal(child.exitCode, null)
})
