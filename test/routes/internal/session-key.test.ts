/** What the merchant's backend may do with a user's session_key, which nobody shows it: check, reset, sign. */
import { createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Call } from '../../../sandbox/index.ts'
import { APPID, build, logIn, type World } from '../../helper.ts'
import { vectors } from '../../vectors.ts'
import { bearer, callsOf, hold, post, refused, sessionKeyOf, startHeldWechat, until } from '../api/client.ts'
import { ask, KEY, sessionKeyUrl, sessionsUrl } from './backend.ts'
import { startGate } from './gate.ts'

const CHECK: Call['api'] = 'checksession'
const RESET: Call['api'] = 'resetusersessionkey'
const RESET_PATH = '/wxa/resetusersessionkey'

type App = World['app']

const check = (app: App, openid: string) => ask(app, { method: 'POST', url: sessionKeyUrl(openid, 'check') })
const reset = (app: App, openid: string) => ask(app, { method: 'POST', url: sessionKeyUrl(openid, 'reset') })
const sign = (app: App, openid: string, data: string) =>
  ask(app, { method: 'POST', url: sessionKeyUrl(openid, 'sign'), payload: { data } })

const hmac = (data: string, key: string): string => createHmac('sha256', key).update(data).digest('hex')

/** Whether the newest key that the gateway holds is the one that WeChat holds. */
async function inStep(t: Test, world: World, openid: string, message: string): Promise<void> {
  const { signature } = (await sign(world.app, openid, message)).json()
  t.equal(signature, hmac(message, await sessionKeyOf(world, openid)), message)
}

async function start(t: Test, env: Record<string, string> = {}) {
  let nowMs = Date.now()
  const world = await build(t, { env: { RATE_LIMIT: '0', ...env }, now: () => nowMs })
  const { openid, headers } = await logIn(world.app, world.sandbox)
  return {
    world,
    app: world.app,
    openid,
    headers,
    advance: (seconds: number) => {
      nowMs += seconds * 1000
    }
  }
}

const count = ({ sandbox }: World, api: Call['api']): number => callsOf(sandbox, api).length

t.test('sign() follows the published vectors, under the key as its text', async (t) => {
  const { official, derivedHere } = vectors<{ official: Vector; derivedHere: Vector[] }>('session-signature')
  const { app } = await build(t)
  for (const [index, { session_key, message, signature }] of [official, ...derivedHere].entries()) {
    await hold(app, APPID, `oVector${index}`, session_key)
    const answer = await sign(app, `oVector${index}`, message)
    t.equal(answer.statusCode, 200)
    t.same(answer.json(), { signature })
  }
})

interface Vector {
  session_key: string
  message: string
  signature: string
}

t.test('sign() takes any text that has bytes, up to the limit of bodies, and refuses the rest', async (t) => {
  const { world, app, openid } = await start(t)
  const key = await sessionKeyOf(world, openid)
  for (const data of ['', ' ', '{"foo":"微信 🀄"}', '\r\n\u0000\u2028', '\ufffd', 'x'.repeat(65_000)])
    t.same((await sign(app, openid, data)).json(), { signature: hmac(data, key) }, `${data.length}`)

  const url = sessionKeyUrl(openid, 'sign')
  const asJson = { ...KEY, 'content-type': 'application/json' }
  const send = (payload: string | Buffer, headers = asJson) => ask(app, { method: 'POST', url, headers, payload })
  for (const broken of ['"\\ud800"', '"x\\udc00\\ud800x"', '1', 'null', '["x"]', '{"toString":1}'])
    refused(t, await send(`{"data":${broken}}`), 400, 'FST_ERR_VALIDATION')
  for (const broken of ['{}', '[]', 'null', '', '{"data":"x","key":"y"}'])
    refused(t, await send(broken), 400, 'FST_ERR_VALIDATION')
  for (const broken of ['{"data":', '{"data":"x","__proto__":{}}', Buffer.from('{"data":"\xff"}', 'latin1')])
    refused(t, await send(broken), 400, 'FST_ERR_CTP', { code: /^FST_ERR_CTP/ })
  refused(t, await send(JSON.stringify({ data: 'x'.repeat(65_536) })), 413, 'FST_ERR_CTP_BODY_TOO_LARGE')
  refused(t, await send('data=x', { ...KEY, 'content-type': 'text/plain' }), 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
})

t.test('sign() signs with the newest key of the user, while it is held', async (t) => {
  const { world, app, openid, advance } = await start(t, { SESSION_KEY_TTL: '100' })
  await inStep(t, world, openid, 'after the first login')
  advance(60)
  await logIn(app, world.sandbox, openid)
  await inStep(t, world, openid, 'after the second login')
  advance(99)
  await inStep(t, world, openid, 'in the last second')
  advance(1)
  refused(t, await sign(app, openid, ''), 409, 'SESSION_KEY_EXPIRED')
  t.equal(count(world, CHECK) + count(world, RESET), 0)
})

t.test('sign() does not fall back on an older key, which WeChat would refuse', async (t) => {
  const old = `old:${Buffer.alloc(32, 1).toString('base64')}`
  const fresh = `new:${Buffer.alloc(32, 2).toString('base64')}`
  const { world, app, openid } = await start(t, { ENCRYPTION_KEYS: old })
  const other = await world.another({ ENCRYPTION_KEYS: `${fresh},${old}` })
  await logIn(other, world.sandbox, openid)
  refused(t, await sign(app, openid, ''), 409, 'SESSION_KEY_EXPIRED')
  t.equal((await sign(other, openid, '')).statusCode, 200)
})

t.test('check() asks WeChat about the newest key', async (t) => {
  const { world, app, openid } = await start(t)
  const answer = await check(app, openid)
  t.equal(answer.statusCode, 200)
  t.same(answer.json(), { valid: true })
  world.sandbox.login({ appid: APPID, openid })
  t.same((await check(app, openid)).json(), { valid: false }, 'wx.login ran, and nobody sent the code here')
  await logIn(app, world.sandbox, openid)
  t.same((await check(app, openid)).json(), { valid: true })
  t.match(callsOf(world.sandbox, CHECK), [{ appid: APPID, openid, method: 'GET' }, { errcode: 87009 }, { errcode: 0 }])

  const asJson = { ...KEY, 'content-type': 'application/json' }
  const request = { method: 'POST', url: sessionKeyUrl(openid, 'check'), headers: asJson } as const
  for (const payload of ['', '{}']) t.same((await ask(app, { ...request, payload })).json(), { valid: true })
  for (const payload of ['{"key":1}', '[]', '1'])
    refused(t, await ask(app, { ...request, payload }), 400, 'FST_ERR_VALIDATION')
})

t.test('check() and reset() give each errcode of WeChat its status and code', async (t) => {
  const { world, app, openid } = await start(t)
  const rows: [errcode: number, status: number, code: string][] = [
    [87008, 502, 'WECHAT_REJECTED'],
    [40003, 502, 'WECHAT_REJECTED'],
    [40097, 502, 'WECHAT_REJECTED'],
    [48001, 502, 'WECHAT_REJECTED'],
    [45011, 429, 'WECHAT_RATE_LIMITED'],
    [45009, 429, 'WECHAT_RATE_LIMITED'],
    [40164, 500, 'WECHAT_CONFIG_INVALID']
  ]
  for (const [errcode, status, code] of rows) {
    for (const [api, call] of [[CHECK, check] as const, [RESET, reset] as const]) {
      world.sandbox.fault({ api, errcode })
      refused(t, await call(app, openid), status, code, { wechat: { errcode, errmsg: /\w/ } })
    }
  }
  for (const errcode of [87009, 87007]) {
    world.sandbox.fault({ api: CHECK, errcode })
    t.same((await check(app, openid)).json(), { valid: false })
    world.sandbox.fault({ api: RESET, errcode })
    refused(t, await reset(app, openid), 409, 'SESSION_KEY_EXPIRED', { wechat: { errcode } })
  }
  t.equal(count(world, CHECK), rows.length + 2, 'each was asked once')
  t.equal(count(world, RESET), rows.length + 2)
  await inStep(t, world, openid, 'nothing has changed')
})

t.test('check() asks again where the answer was none, reset() never where it may have arrived', async (t) => {
  const { world, app, openid } = await start(t, { WECHAT_TIMEOUT_MS: '400' })
  for (const way of [{ garbage: true }, { httpStatus: 500 }]) {
    world.sandbox.fault({ api: CHECK, ...way })
    t.same((await check(app, openid)).json(), { valid: true })
    world.sandbox.fault({ api: CHECK, ...way, times: 2 })
    refused(t, await check(app, openid), 502, 'WECHAT_BAD_RESPONSE')
  }
  t.equal(count(world, CHECK), 8)

  const ways = [
    [{ delayMs: 1000 }, 504, 'WECHAT_TIMEOUT'],
    [{ reset: true }, 502, 'WECHAT_UNREACHABLE'],
    [{ garbage: true, processed: true }, 502, 'WECHAT_BAD_RESPONSE'],
    [{ httpStatus: 502, processed: true }, 502, 'WECHAT_BAD_RESPONSE']
  ] as const
  for (const [way, status, code] of ways) {
    world.sandbox.clearCalls()
    world.sandbox.fault({ api: RESET, ...way })
    refused(t, await reset(app, openid), status, code)
    t.equal(count(world, RESET), 1, code)
    t.same((await check(app, openid)).json(), { valid: false }, 'the key held is dead, and that can be seen')
    refused(t, await reset(app, openid), 409, 'SESSION_KEY_EXPIRED', { wechat: { errcode: 87009 } })
    await logIn(app, world.sandbox, openid)
    t.same((await check(app, openid)).json(), { valid: true }, 'a login heals it')
  }
})

t.test('check() and reset() repeat once after -1 and with a newer access_token', async (t) => {
  const { world, app, openid } = await start(t)
  for (const [api, call, status] of [[CHECK, check, 200] as const, [RESET, reset, 204] as const]) {
    world.sandbox.fault({ api, errcode: -1 })
    t.equal((await call(app, openid)).statusCode, status)
    t.equal(count(world, api), 2)
    world.sandbox.clearCalls()
    world.sandbox.expireToken({ appid: APPID })
    t.equal((await call(app, openid)).statusCode, status)
    t.equal(count(world, api), 2)
    t.equal(count(world, 'stable_token'), 1)
    await inStep(t, world, openid, `after ${api}`)
  }
  world.sandbox.fault({ api: RESET, errcode: -1, times: 2 })
  refused(t, await reset(app, openid), 503, 'WECHAT_BUSY', { wechat: { errcode: -1 } })
})

t.test('reset() holds the new key in place of the old, until the same end', async (t) => {
  const { world, app, openid, headers, advance } = await start(t, { SESSION_KEY_TTL: '100', TOKEN_TTL: '10000' })
  const before = await sessionKeyOf(world, openid)
  const { encryptedData, iv } = world.sandbox.openData({ appid: APPID, openid, data: { openGId: 'tG' } })
  const open = () => post(app, '/api/userdata', { encryptedData, iv }, headers)
  advance(60)
  const answer = await reset(app, openid)
  t.equal(answer.statusCode, 204)
  t.equal(answer.body, '')
  t.not(await sessionKeyOf(world, openid), before, 'WeChat has another key')
  await inStep(t, world, openid, 'and so have we')
  t.same((await check(app, openid)).json(), { valid: true })
  t.equal((await open()).statusCode, 200, 'data made before it opens as before')
  t.match((await app.inject({ url: '/api/session', headers })).json(), { sessionKeyHeld: true })

  advance(39)
  t.equal((await sign(app, openid, '')).statusCode, 200)
  advance(1)
  refused(t, await sign(app, openid, ''), 409, 'SESSION_KEY_EXPIRED')
  t.match((await app.inject({ url: '/api/session', headers })).json(), { sessionKeyHeld: false })
})

t.test('reset() leaves no key unsealed in Redis, and never more than three', async (t) => {
  const { world, app, openid } = await start(t)
  for (let times = 0; times < 5; times += 1) t.equal((await reset(app, openid)).statusCode, 204)
  const place = app.keys.sessionKeys(APPID, openid)
  const history = (await app.redis.getBuffer(place))?.toString('latin1') ?? ''
  t.equal(history.split('k1').length, 4, 'three sealed keys')
  t.notMatch(history, Buffer.from(await sessionKeyOf(world, openid), 'base64').toString('latin1'))
  const left = await app.redis.ttl(place)
  t.ok(left > 0 && left <= 7200, `${left} s`)
  await inStep(t, world, openid, 'after five resets')
})

t.test('reset() asked for at once, on several instances, is one reset', async (t) => {
  const { world, app, openid } = await start(t)
  const gate = await startGate(t, world.sandbox.origin)
  const [one, two] = [
    await world.another({ WECHAT_API_ORIGIN: gate.origin }),
    await world.another({ WECHAT_API_ORIGIN: gate.origin })
  ]
  const lock = app.keys.sessionKeyLock(APPID, openid)
  const tries = t.capture(two.redis, 'set', two.redis.set)
  gate.hold(RESET_PATH)
  const first = [reset(one, openid), reset(one, openid)]
  await gate.waiting(1)
  const later = [reset(one, openid), reset(two, openid), reset(two, openid)]
  await until(async () => tries().length > 0)
  gate.open()
  for (const answer of await Promise.all([...first, ...later])) t.equal(answer.statusCode, 204, answer.body)
  t.equal(count(world, RESET), 1)
  await inStep(t, world, openid, 'all hold what WeChat gave')
  await until(async () => (await app.redis.exists(lock)) === 0)
  t.equal((await reset(two, openid)).statusCode, 204)
  t.equal(count(world, RESET), 2, 'the next one is another')
})

t.test('reset() asked for at once on one instance fails once for all, and the next one tries again', async (t) => {
  const { world, app, openid } = await start(t)
  world.sandbox.fault({ api: RESET, errcode: 45011 })
  for (const answer of await Promise.all([reset(app, openid), reset(app, openid), reset(app, openid)]))
    refused(t, answer, 429, 'WECHAT_RATE_LIMITED')
  t.equal(count(world, RESET), 1)
  t.equal((await reset(app, openid)).statusCode, 204)
})

t.test('reset() that outlived its lease leaves the lock to who has it now', async (t) => {
  const { world, app, openid } = await start(t)
  const gate = await startGate(t, world.sandbox.origin)
  const slow = await world.another({ WECHAT_API_ORIGIN: gate.origin })
  const lock = app.keys.sessionKeyLock(APPID, openid)
  t.equal((await reset(slow, openid)).statusCode, 204)
  await until(async () => (await app.redis.exists(lock)) === 0)
  gate.hold(RESET_PATH)
  const answer = reset(slow, openid)
  await gate.waiting(1)
  await app.redis.set(lock, 'another', 'PX', 60_000)
  gate.open()
  t.equal((await answer).statusCode, 204)
  t.equal(await slow.redis.get(lock), 'another')
  await inStep(t, world, openid, 'and what WeChat gave is held')
})

t.test('reset() waits no longer for an instance that died than its lease, and then resets', async (t) => {
  const { world, app, openid } = await start(t)
  await app.redis.set(app.keys.sessionKeyLock(APPID, openid), 'dead', 'PX', 300)
  t.equal((await reset(app, openid)).statusCode, 204)
  await inStep(t, world, openid, 'after the lease')
  const stuck = await world.another({ WECHAT_TIMEOUT_MS: '1' })
  await app.redis.set(app.keys.sessionKeyLock(APPID, openid), 'dead', 'PX', 60_000)
  refused(t, await reset(stuck, openid), 504, 'WECHAT_TIMEOUT')
  t.equal(await app.redis.get(app.keys.sessionKeyLock(APPID, openid)), 'dead', 'it is not ours to give back')
})

/** A reset whose answer waits while `meanwhile` happens. */
async function resetWhile(t: Test, meanwhile: (world: World, openid: string) => Promise<unknown>) {
  const { world, app, openid } = await start(t)
  const gate = await startGate(t, world.sandbox.origin)
  const slow = await world.another({ WECHAT_API_ORIGIN: gate.origin })
  gate.hold(RESET_PATH)
  const answer = reset(slow, openid)
  await gate.waiting(1)
  await meanwhile(world, openid)
  gate.open()
  return { world, app, openid, answer: await answer }
}

t.test('reset() does not take the place of a newer key, that of a login that came meanwhile', async (t) => {
  const { world, app, openid, answer } = await resetWhile(t, ({ app, sandbox }, openid) => logIn(app, sandbox, openid))
  t.equal(answer.statusCode, 204)
  await inStep(t, world, openid, 'the key of the login is the newest')
  const history = await app.redis.getBuffer(app.keys.sessionKeys(APPID, openid))
  t.equal(history?.toString('latin1').split('k1').length, 4, 'the reset one is held behind it')
})

t.test('reset() and a login that got the same new key agree', async (t) => {
  const { world, app, openid, answer } = await resetWhile(t, async ({ app, sandbox }, openid) => {
    const { code } = sandbox.login({ appid: APPID, openid, keepSessionKey: true })
    await post(app, '/api/login', { code })
  })
  t.equal(answer.statusCode, 204)
  await inStep(t, world, openid, 'the key of both')
  const history = await app.redis.getBuffer(app.keys.sessionKeys(APPID, openid))
  t.equal(history?.toString('latin1').split('k1').length, 3, 'held once, and the one before')
})

t.test('reset() holds nothing of a user whose sessions were ended meanwhile', async (t) => {
  const { app, openid, answer } = await resetWhile(t, ({ app }, openid) =>
    ask(app, { method: 'DELETE', url: sessionsUrl(openid) })
  )
  t.equal(answer.statusCode, 204, 'WeChat has reset it')
  t.equal(await app.redis.exists(app.keys.sessionKeys(APPID, openid)), 0)
  refused(t, await sign(app, openid, ''), 409, 'SESSION_KEY_EXPIRED')
})

t.test('a login that asked WeChat before a reset and comes after it does not bring the dead key back', async (t) => {
  const { world, app, openid } = await start(t)
  const gate = await startGate(t, world.sandbox.origin)
  const slow = await world.another({ WECHAT_API_ORIGIN: gate.origin })
  const { code } = world.sandbox.login({ appid: APPID, openid, keepSessionKey: true })
  gate.hold('/sns/jscode2session')
  const login = post(slow, '/api/login', { code })
  await gate.waiting(1)
  t.equal((await reset(app, openid)).statusCode, 204)
  gate.open()
  const { token } = (await login).json()
  await inStep(t, world, openid, 'the reset key is the newest')
  t.same((await check(app, openid)).json(), { valid: true })
  t.match((await app.inject({ url: '/api/session', headers: bearer(token) })).json(), { sessionKeyHeld: true })
})

t.test('reset() refuses an answer without a session_key that is one', async (t) => {
  const { world, openid } = await start(t)
  const wechat = await startHeldWechat(t)
  const app = await world.another({ WECHAT_API_ORIGIN: wechat.origin })
  await world.app.wechat.accessTokens.get(APPID)
  const wrong = [{}, { session_key: 1 }, { session_key: '' }, { session_key: Buffer.alloc(15).toString('base64') }]
  for (const answer of wrong) {
    const arrived = wechat.arrived()
    const asked = reset(app, openid)
    await arrived
    wechat.release({ errcode: 0, errmsg: 'ok', openid, ...answer })
    refused(t, await asked, 502, 'WECHAT_BAD_RESPONSE')
  }
})

t.test('no answer and no log line shows a session_key, its signature at WeChat, or the access_token', async (t) => {
  const { world, app, openid } = await start(t, { LOG_LEVEL: 'trace', WECHAT_TIMEOUT_MS: '300' })
  const secrets = [await sessionKeyOf(world, openid)]
  const answers = [await sign(app, openid, 'data'), await check(app, openid), await reset(app, openid)]
  secrets.push(await sessionKeyOf(world, openid), (await app.wechat.accessTokens.get(APPID)).token)
  const ways = [{ delayMs: 800 }, { garbage: true, times: 2 }, { errcode: 87009 }, { errcode: 87008 }, { reset: true }]
  for (const way of ways) {
    for (const [api, call] of [[CHECK, check] as const, [RESET, reset] as const]) {
      world.sandbox.clearFaults()
      world.sandbox.fault({ api, ...way })
      answers.push(await call(app, openid))
    }
  }
  for (const key of secrets.slice(0, 2)) secrets.push(hmac('', key), Buffer.from(key, 'base64').toString('hex'))
  for (const secret of secrets) {
    t.notOk(world.logs().includes(secret))
    for (const { body, headers } of answers) t.notOk(`${body} ${JSON.stringify(headers)}`.includes(secret))
  }
  t.notOk(world.logs().includes(openid))
  t.ok(answers.some(({ statusCode }) => statusCode === 504) && answers.some(({ statusCode }) => statusCode === 409))
})
