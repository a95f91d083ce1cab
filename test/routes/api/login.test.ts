/**
 * POST /api/login: the result of a code, and that each code is sent to WeChat once. WeChat's refusals are in
 * table-9-1.test.ts.
 */
import t, { type Test } from 'tap'
import { freePort } from '../../../tools/free-port.ts'
import { APPID, build, OTHER_APPID, type World } from '../../helper.ts'
import {
  bearer,
  bothApps,
  callsOf,
  claims,
  codeKey,
  get,
  keysOf,
  login,
  post,
  refused,
  sessionKeyOf,
  startHeldWechat,
  until
} from './client.ts'

const ANSWER = ['expiresIn', 'openid', 'refreshExpiresIn', 'refreshToken', 'token', 'tokenType']
const upstream = ({ sandbox }: World) => callsOf(sandbox, 'code2session')

/** Everything that Redis holds, names included, as one text. */
async function everythingHeld(world: World): Promise<string> {
  const { redis } = world.app
  const parts: string[] = []
  for (const key of await keysOf(world)) {
    const type = await redis.type(key)
    if (type === 'string') parts.push(key, (await redis.getBuffer(key))?.toString('latin1') ?? '')
    if (type === 'hash') parts.push(key, JSON.stringify(await redis.hgetall(key)))
  }
  return parts.join('\n')
}

t.test('login() answers with tokens and who the user is, and with no secret', async (t) => {
  const nowMs = Date.now()
  const world = await build(t, { env: { LOG_LEVEL: 'trace' }, now: () => nowMs })
  const { code, openid } = world.sandbox.login({ appid: APPID })
  const answer = await login(world.app, code)
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  const body = answer.json()
  t.same(Object.keys(body).sort(), [...ANSWER, 'unionid'].sort())
  t.match(body, { openid, tokenType: 'Bearer', expiresIn: 900, refreshExpiresIn: 2_592_000, unionid: /^\S+$/ })

  const sessionKey = await sessionKeyOf(world, openid)
  const held = await everythingHeld(world)
  t.match(held, openid, 'the dump shows what is held')
  const { appSecret } = world.secrets
  for (const place of [answer.body, JSON.stringify(answer.headers), held, world.logs()]) {
    t.notMatch(place, sessionKey)
    t.notMatch(place, Buffer.from(sessionKey, 'base64').toString('latin1'))
    t.notMatch(place, appSecret)
  }
  for (const secret of [body.token, body.refreshToken, code, body.openid]) t.notMatch(world.logs(), secret)
})

t.test('login() needs no appid where one app is configured, and knows that one', async (t) => {
  const { app, sandbox } = await build(t)
  t.equal((await login(app, sandbox.login({ appid: APPID }).code, APPID)).statusCode, 200)
  const { code } = sandbox.login({ appid: OTHER_APPID })
  refused(t, await login(app, code, OTHER_APPID), 400, 'APP_UNKNOWN')
  refused(t, await login(app, code), 401, 'CODE_INVALID', { wechat: { errcode: 40029 } })
  for (const appid of ['__proto__', 'constructor', `${APPID}\n`])
    refused(t, await post(app, '/api/login', { code, appid }), 400, 'FST_ERR_VALIDATION')
})

t.test('login() keeps the apps of WECHAT_CONFIG_FILE apart', async (t) => {
  const { another, sandbox, secrets } = await build(t)
  const app = await another(bothApps(t, secrets))

  const { code, openid } = sandbox.login({ appid: OTHER_APPID })
  refused(t, await login(app, code), 400, 'APP_UNKNOWN', { message: /appid/ })
  refused(t, await login(app, code, 'wx00000000000000ff'), 400, 'APP_UNKNOWN')
  refused(t, await login(app, code, APPID), 401, 'CODE_INVALID')
  const body = (await login(app, code, OTHER_APPID)).json()
  t.same(Object.keys(body).sort(), ANSWER, 'this app has no unionids')
  t.match((await get(app, '/api/session', bearer(body.token))).json(), { appid: OTHER_APPID, openid })
})

t.test('login() says when nobody listens, and goes to the next origin', async (t) => {
  const world = await build(t)
  const nobody = `http://127.0.0.1:${await freePort()}`
  const alone = await world.another({ WECHAT_API_ORIGIN: nobody })
  refused(t, await login(alone, 'any'), 502, 'WECHAT_UNREACHABLE')
  const both = await world.another({ WECHAT_API_ORIGIN: `${nobody},${world.sandbox.origin}` })
  t.equal((await login(both, world.sandbox.login({ appid: APPID }).code)).statusCode, 200)
  t.equal(upstream(world).length, 1)
})

t.test('login() refuses an answer without usable openid and session_key', async (t) => {
  const wechat = await startHeldWechat(t)
  const { app } = await build(t, { env: { WECHAT_API_ORIGIN: wechat.origin } })
  const session_key = Buffer.alloc(16).toString('base64')
  const answers = [
    {},
    { openid: 'o1' },
    { openid: '', session_key },
    { openid: 'o 1', session_key },
    { openid: 1, session_key },
    { openid: 'o1', session_key: Buffer.alloc(32).toString('base64') },
    { openid: 'o1', session_key: '!'.repeat(24) },
    { errcode: 'x' }
  ]
  for (const answer of answers) {
    const arrived = wechat.arrived()
    const asked = login(app, 'code')
    await arrived
    wechat.release(answer)
    refused(t, await asked, 502, 'WECHAT_BAD_RESPONSE')
  }
})

t.test('login() gives one code one session, however often and wherever it arrives', async (t) => {
  const world = await build(t)
  const instances = [world.app, await world.another()] as const
  const { code } = world.sandbox.login({ appid: APPID })
  world.sandbox.fault({ api: 'code2session', delayMs: 100 })
  const taps = Array.from({ length: 20 }, (_, tap) => login(instances[tap % 2 === 0 ? 0 : 1], code))
  const answers = await Promise.all(taps)
  t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  const sessions = new Set(answers.map((answer) => claims(answer.json().token).sid))
  t.equal(sessions.size, 1)
  t.equal(upstream(world).length, 1)

  const again = await login(instances[1], code)
  t.ok(sessions.has(claims(again.json().token).sid), 'the same a moment later')
  t.equal(upstream(world).length, 1)
  const life = await world.app.redis.pttl(codeKey(world.app, code))
  t.ok(life > 5_000 && life <= 10_000, `for 10 s: ${life}`)
  await world.app.redis.del(codeKey(world.app, code))
  refused(t, await login(world.app, code), 401, 'CODE_USED', { wechat: { errcode: 40163 } })
})

t.test('login() leaves a code whose session has ended to WeChat', async (t) => {
  const world = await build(t)
  const { code } = world.sandbox.login({ appid: APPID })
  const { token } = (await login(world.app, code)).json()
  t.equal((await post(world.app, '/api/logout', {}, bearer(token))).statusCode, 204)
  refused(t, await login(world.app, code), 401, 'CODE_USED')
})

async function claimed(t: Test): Promise<{ world: World; code: string; place: string }> {
  const world = await build(t, { env: { WECHAT_TIMEOUT_MS: '400' } })
  const { code } = world.sandbox.login({ appid: APPID })
  return { world, code, place: codeKey(world.app, code) }
}

const claimAttempts = async ({ app }: World): Promise<number> =>
  Number(/cmdstat_set:calls=(\d+)/.exec(await app.redis.info('commandstats'))?.[1])

t.test('login() claims a code for no longer than WeChat may take, and gives the claim back on failure', async (t) => {
  const { world, code, place } = await claimed(t)
  const wechat = await startHeldWechat(t)
  const app = await world.another({ WECHAT_API_ORIGIN: wechat.origin })
  const arrived = wechat.arrived()
  const asked = login(app, code)
  await arrived
  const lease = await world.app.redis.pttl(place)
  t.ok(lease > 0 && lease <= 2 * 400 + 1000 + 1000, `two tries, the pause and a second: ${lease}`)
  const attempts = await claimAttempts(world)
  const waiting = login(world.app, code)
  await until(async () => (await claimAttempts(world)) > attempts)
  wechat.release({ errcode: 40029, errmsg: 'invalid code' })
  refused(t, await asked, 401, 'CODE_INVALID')
  t.equal((await waiting).statusCode, 200, 'who waited asks for itself')
})

t.test('login() waits for a dead instance no longer than its lease', async (t) => {
  const { world, code, place } = await claimed(t)
  await world.app.redis.set(place, 'claim:of-a-dead-instance', 'PX', 300)
  t.equal((await login(world.app, code)).statusCode, 200)
  t.equal(upstream(world).length, 1)
})

t.test('login() takes any text for a code without stumbling', async (t) => {
  const { app } = await build(t)
  for (const code of ['\ud800', '__proto__', '&secret=x', '0\u0000', '微信', 'a'.repeat(128)])
    refused(t, await login(app, code), 401, 'CODE_INVALID')
  const raw = '{"code":"\\ud800","__proto__":{"appid":1}}'
  const headers = { 'content-type': 'application/json' }
  refused(t, await app.inject({ method: 'POST', url: '/api/login', payload: raw, headers }), 400, 'FST_ERR', {
    code: /^FST_ERR/
  })
  for (const payload of [
    {},
    { code: '' },
    { code: 1e308 },
    { code: 'a'.repeat(129) },
    { code: ['a'] },
    { js_code: 'a' }
  ])
    refused(t, await post(app, '/api/login', payload), 400, 'FST_ERR_VALIDATION')
})
