/**
 * The managed access_token behind POST /api/phone: fetched once, renewed once, never in a loop. WeChat's refusals are
 * in table-9-1.test.ts.
 */
import t, { type Test } from 'tap'
import { APPID, build, logIn, type World } from '../../helper.ts'
import { callsOf, type Headers, keysOf, post, refused, startHeldWechat, until } from './client.ts'

const TOKEN_CALL = 'stable_token'
const PHONE_CALL = 'getuserphonenumber'

async function start(t: Test) {
  let nowMs = Date.now()
  const world = await build(t, { env: { TOKEN_TTL: '100000', RATE_LIMIT: '0' }, now: () => nowMs })
  const { openid, headers } = await logIn(world.app, world.sandbox)
  return {
    world,
    advance: (seconds: number) => {
      nowMs += seconds * 1000
    },
    phone: (app = world.app) => askPhone(world, app, openid, headers)
  }
}

function askPhone({ sandbox }: World, app: World['app'], openid: string, headers: Headers) {
  const { code } = sandbox.phoneButton({ appid: APPID, openid })
  return post(app, '/api/phone', { code }, headers)
}

const count = ({ sandbox }: World, api: typeof TOKEN_CALL | typeof PHONE_CALL) => callsOf(sandbox, api).length

t.test('phone() fetches one token for all callers on all instances, and keeps it sealed', async (t) => {
  const { world, phone } = await start(t)
  const other = await world.another()
  world.sandbox.fault({ api: TOKEN_CALL, delayMs: 100 })
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => phone(n % 2 === 0 ? world.app : other)))
  t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  t.equal(count(world, TOKEN_CALL), 1)
  t.equal(count(world, PHONE_CALL), 20)

  const { app } = world
  const place = app.keys.accessToken(APPID)
  const { token } = await app.wechat.accessTokens.get(APPID)
  const held = (await app.redis.getBuffer(place))?.toString('latin1') ?? ''
  t.match(held, /^.k1/s)
  t.notMatch(held, token)
  t.notMatch(world.logs(), token)
  for (const key of await keysOf(world)) {
    if (!key.includes(':token:')) continue
    const life = await app.redis.ttl(key)
    t.ok(life > 0 && life <= 7200, `${key}: ${life}`)
  }
  t.equal(await app.redis.exists(app.keys.accessTokenLock(APPID)), 0, 'the lock was given back')
})

t.test('phone() renews a refused token once and repeats once', async (t) => {
  const { world, advance, phone } = await start(t)
  for (const errcode of [40001, 40014, 42001] as const) {
    t.equal((await phone()).statusCode, 200)
    world.sandbox.expireToken({ appid: APPID, errcode })
    world.sandbox.clearCalls()
    t.equal((await phone()).statusCode, 200)
    t.equal(count(world, TOKEN_CALL), 1)
    t.equal(count(world, PHONE_CALL), 2)

    world.sandbox.clearCalls()
    world.sandbox.fault({ api: PHONE_CALL, errcode, times: 0 })
    refused(t, await phone(), 500, 'WECHAT_CONFIG_INVALID', { wechat: { errcode } })
    t.equal(count(world, PHONE_CALL), 2, `${errcode} for ever: two calls`)
    t.equal(count(world, TOKEN_CALL), 2, 'asked, then forced')
    world.sandbox.clearFaults()
    advance(31)
  }
})

t.test('phone() forces WeChat where it hands out the dead token again, at most every 30 s', async (t) => {
  const { world, advance, phone } = await start(t)
  await phone()
  world.sandbox.expireToken({ appid: APPID, sticky: true })
  world.sandbox.clearCalls()
  t.equal((await phone()).statusCode, 200)
  t.same(
    callsOf(world.sandbox, TOKEN_CALL).map(({ forceRefresh = false }) => forceRefresh),
    [false, true]
  )

  world.sandbox.expireToken({ appid: APPID, sticky: true })
  world.sandbox.clearCalls()
  refused(t, await phone(), 500, 'WECHAT_CONFIG_INVALID')
  t.same(
    callsOf(world.sandbox, TOKEN_CALL).map(({ forceRefresh = false }) => forceRefresh),
    [false]
  )
  advance(30)
  t.equal((await phone()).statusCode, 200)
})

t.test('phone() does not hammer WeChat with a wrong secret', async (t) => {
  const { world, advance, phone } = await wrongSecret(t)
  for (let tries = 0; tries < 10; tries += 1) refused(t, await phone(), 500, 'WECHAT_CONFIG_INVALID')
  t.equal(count(world, TOKEN_CALL), 1)
  advance(1)
  for (let tries = 0; tries < 10; tries += 1) await phone()
  t.equal(count(world, TOKEN_CALL), 2, 'one more after a second')
  advance(1)
  await phone()
  t.equal(count(world, TOKEN_CALL), 2, 'the pause grows')
  advance(1)
  await phone()
  t.equal(count(world, TOKEN_CALL), 3)
  t.equal(count(world, PHONE_CALL), 0)
})

/** Who logged in before the secret was reset. */
async function wrongSecret(t: Test) {
  const { world, advance, phone } = await start(t)
  const app = await world.another({ WECHAT_SECRET: 'f'.repeat(32) })
  return { world, advance, phone: () => phone(app) }
}

t.test('phone() goes on with a token in its last minutes while it is renewed beside', async (t) => {
  const { world, advance, phone } = await start(t)
  await phone()
  const { token: old } = await world.app.wechat.accessTokens.get(APPID)
  advance(7200 - 299)
  world.sandbox.fault({ api: TOKEN_CALL, httpStatus: 500 })
  t.equal((await phone()).statusCode, 200, 'renewal fails, the old token serves')
  await until(async () => (await world.app.redis.exists(world.app.keys.accessTokenLock(APPID))) === 0)
  advance(2)
  t.equal((await phone()).statusCode, 200)
  await until(async () => (await world.app.wechat.accessTokens.get(APPID)).token !== old)
  t.equal(count(world, TOKEN_CALL), 3)
})

t.test('phone() waits for a dead holder of the lock no longer than its lease', async (t) => {
  const { world, phone } = await start(t)
  await world.app.redis.set(world.app.keys.accessTokenLock(APPID), 'dead', 'PX', 300)
  t.equal((await phone()).statusCode, 200)
})

t.test('phone() refuses a token answer that is none, and phone answers without a number', async (t) => {
  const { world, advance, phone } = await start(t)
  for (const fault of [{ garbage: true }, { httpStatus: 412 }, { httpStatus: 200 }]) {
    world.sandbox.fault({ api: TOKEN_CALL, ...fault })
    refused(t, await phone(), 502, 'WECHAT_BAD_RESPONSE')
    advance(31)
  }
  world.sandbox.fault({ api: PHONE_CALL, errcode: 0 })
  refused(t, await phone(), 502, 'WECHAT_BAD_RESPONSE')

  const wechat = await startHeldWechat(t)
  const app = await world.another({ WECHAT_API_ORIGIN: wechat.origin })
  await app.redis.del(app.keys.accessToken(APPID))
  const answers = [
    {},
    { access_token: 't' },
    { access_token: '', expires_in: 7200 },
    { access_token: 'a b', expires_in: 7200 },
    { access_token: 't', expires_in: 0 },
    { access_token: 't', expires_in: 'soon' }
  ]
  for (const answer of answers) {
    const arrived = wechat.arrived()
    const asked = phone(app)
    await arrived
    wechat.release(answer)
    refused(t, await asked, 502, 'WECHAT_BAD_RESPONSE')
    advance(31)
  }
})
