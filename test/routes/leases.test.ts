/**
 * Redis fails while an instance holds a lease. Nobody waits for that lease afterwards, and nobody waits long while
 * Redis still refuses.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { PrivateRedis } from '../../tools/redis.ts'
import { APPID, build, OTHER_APPID, type World } from '../helper.ts'
import { LEAST_RIGHTS, startWithUser } from '../redis-user.ts'
import { type Answer, bothApps, callsOf as callsTo, get, login, post, refused, until } from './api/client.ts'
import { accessTokenUrl, ask, sessionKeyUrl } from './internal/backend.ts'
import { startGate } from './internal/gate.ts'

/** A lease takes longer than a test may: 62 s. */
const WECHAT_TIMEOUT_MS = '30000'
/** Of the promise of two seconds; the rest is for a busy machine. */
const PATIENCE_MS = 20_000

const isReady = async ({ app }: World) => (await get(app, '/readyz')).statusCode === 200

/** A gateway on a Redis of its own, and an administrator of that Redis. WeChat's answers can be held back. */
async function start(t: Test) {
  const { server, admin, env: own } = await startWithUser(t, LEAST_RIGHTS)
  const world = await build(t, { env: own })
  const gate = await startGate(t, world.sandbox.origin)
  const env = { ...bothApps(t, world.secrets), WECHAT_API_ORIGIN: gate.origin, WECHAT_TIMEOUT_MS, RATE_LIMIT: '0' }
  await world.app.close()
  return { server, admin, gate, world: { ...world, app: await world.another(env) } }
}

type Started = Awaited<ReturnType<typeof start>>

/** One call to each endpoint that takes a lease; all can be made again. */
async function callsOf({ world: { app, sandbox }, admin }: Started): Promise<Record<string, () => Promise<Answer>>> {
  const { code } = sandbox.login({ appid: APPID })
  const entered = sandbox.login({ appid: OTHER_APPID })
  const { openid, token } = (await login(app, entered.code, OTHER_APPID)).json()
  const button = sandbox.phoneButton({ appid: OTHER_APPID, openid })
  await ask(app, { url: accessTokenUrl(OTHER_APPID) })
  await admin.del(app.keys.accessToken(APPID))
  return {
    token: () => ask(app, { url: accessTokenUrl() }),
    login: () => login(app, code, APPID),
    reset: () => ask(app, { method: 'POST', url: sessionKeyUrl(openid, 'reset', OTHER_APPID) }),
    phone: () => post(app, '/api/phone', { code: button.code }, { authorization: `Bearer ${token}` })
  }
}

const all = <T>(calls: Record<string, () => Promise<T>>) =>
  Promise.all(Object.entries(calls).map(async ([name, call]) => [name, await call()] as const))

/** Each answer of `calls`, which has to come long before a lease ends. */
async function prompt(t: Test, calls: Record<string, () => Promise<Answer>>, what: string) {
  const started = performance.now()
  const answers = await all(calls)
  const took = Math.round(performance.now() - started)
  t.ok(took < PATIENCE_MS, `${what}: ${took} ms`)
  return answers
}

interface Trouble {
  begin(): unknown
  end(): unknown
}

const troublesOf = ({ server, admin }: { server: PrivateRedis; admin: Redis }): Record<string, Trouble> => {
  const user = (...rules: string[]) => admin.call('ACL', 'SETUSER', 'app', ...rules)
  return {
    silent: { begin: () => server.pause(), end: () => server.resume() },
    'a replica': {
      begin: () => admin.replicaof('127.0.0.1', '1'),
      end: () => admin.call('REPLICAOF', 'NO', 'ONE')
    },
    full: {
      begin: () => admin.config('SET', 'maxmemory', '1'),
      end: () => admin.config('SET', 'maxmemory', '0')
    },
    'without scripts': { begin: () => user('-eval', '-evalsha'), end: () => user('+eval', '+evalsha') },
    'without writing': { begin: () => user('-@write'), end: () => user('+@write') },
    'reading nothing': { begin: () => user('-get'), end: () => user('+get') }
  }
}

t.test('nobody waits for a lease of a time in which Redis failed', async (t) => {
  const started = await start(t)
  const { world, gate } = started
  for (const [what, trouble] of Object.entries(troublesOf(started))) {
    const calls = await callsOf(started)
    gate.hold('/')
    const first = all(calls)
    await gate.waiting(4)
    await trouble.begin()
    gate.open()
    for (const [name, answer] of [...(await first), ...(await prompt(t, calls, `while Redis is ${what}`))])
      t.ok(answer.statusCode === 200 || answer.json().code === 'REDIS_UNAVAILABLE', `${what}: ${name}`)

    await trouble.end()
    await until(() => isReady(world))
    const again = Object.fromEntries(await prompt(t, calls, `after Redis was ${what}`))
    t.equal(again.token?.statusCode, 200, `${what}: the token`)
    // WeChat takes a code once, and a key only until it is reset; what came of that may be lost.
    for (const [name, code] of Object.entries({
      login: /^CODE_USED$/,
      phone: /^CODE_/,
      reset: /^SESSION_KEY_EXPIRED$/
    }))
      t.ok(again[name]?.statusCode === 200 || code.test(again[name]?.json().code), `${what}: ${name}`)
  }
})

t.test('nobody waits for a claim that Redis read after its caller had given up', async (t) => {
  const started = await start(t)
  const { world, server } = started
  const calls = await callsOf(started)
  server.pause()
  for (const [, answer] of await all(calls)) refused(t, answer, 503, 'REDIS_UNAVAILABLE')
  server.resume()
  await until(() => isReady(world))
  for (const [name, answer] of await prompt(t, calls, 'afterwards')) t.ok(answer.statusCode < 300, name)
})

t.test('the token of a time in which Redis failed is kept, and not fetched again', async (t) => {
  const started = await start(t)
  const { world, admin, gate } = started
  const { token } = await callsOf(started)
  const { begin, end } = troublesOf(started)['without scripts'] as Trouble
  world.sandbox.clearCalls()
  gate.hold('/')
  const first = token?.()
  await gate.waiting(1)
  await begin()
  gate.open()
  t.equal((await first)?.statusCode, 503)
  await end()
  await until(async () => (await admin.exists(world.app.keys.accessToken(APPID))) === 1)
  t.equal((await token?.())?.statusCode, 200)
  t.equal(callsTo(world.sandbox, 'stable_token').length, 1)
})

t.test('a lease that is ended late is only our own, and none is after the end of the service', async (t) => {
  const started = await start(t)
  const { world, admin, gate } = started
  const { app } = world
  const { token, login } = await callsOf(started)
  const [lock, held] = [app.keys.accessTokenLock(APPID), app.keys.accessToken(APPID)]
  const { begin, end } = troublesOf(started)['without scripts'] as Trouble
  async function failHolding(call: (() => Promise<Answer>) | undefined) {
    gate.hold('/')
    const answer = call?.()
    await gate.waiting(1)
    await begin()
    gate.open()
    t.equal((await answer)?.statusCode, 503)
  }
  await failHolding(token)
  await admin.set(lock, 'another')
  await end()
  await failHolding(login)
  await end()
  await until(async () => {
    const codes = await admin.mget(await admin.keys('wxgate:code:*'))
    return !codes.some((text) => text?.startsWith('claim:'))
  })
  t.equal(await admin.get(lock), 'another', 'those before it were tried, too')
  t.equal(await admin.exists(held), 0)

  await admin.del(lock)
  await failHolding(token)
  await app.close()
  await end()
  // Four times as long as the pause between two tries.
  await pause(1000)
  t.ok(await admin.exists(lock), 'it ends by itself')
})
