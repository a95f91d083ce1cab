/** Each request is logged once. Secrets and personal data are never logged, whatever fails. */
import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { Fault } from '../sandbox/index.ts'
import { startRedis } from '../tools/redis.ts'
import { API_KEY, APPID, build, logIn, MCHID, type World } from './helper.ts'

const PHONE = '13912345678'
const NICKNAME = 'Secretive Zhang'

interface Line {
  level: number
  msg: string
  reqId?: string
  route?: string
  status?: number
  durationMs?: number
  appid?: string
  code?: string
}

const linesOf = (world: World): Line[] =>
  world
    .logs()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

/** Everything that a log reader must never see, gathered from a world in use. */
async function secretsOf(
  { app, env, secrets, sandbox }: World,
  users: { openid: string; token: string; refreshToken: string }[]
) {
  const [user] = users
  if (user === undefined) throw new Error('no user')
  const { sid } = JSON.parse(Buffer.from(user.token.split('.')[1] ?? '', 'base64url').toString())
  const held = await app.sessions.store.findWithKeys({ appid: APPID, openid: user.openid, sid })
  const { token: accessToken } = await app.wechat.accessTokens.get(APPID)
  const known: Record<string, string | undefined> = {
    AppSecret: secrets.appSecret,
    'APIv2 key': secrets.apiV2Key,
    'API key': API_KEY,
    'encryption key': env.ENCRYPTION_KEYS?.split(':')[1],
    'JWT secret': env.JWT_SECRET,
    'webhook secret': env.WEBHOOK_SECRET?.slice('whsec_'.length),
    session_key: held?.sessionKeys[0]?.toString('base64'),
    access_token: accessToken,
    'phone number': PHONE,
    nickname: NICKNAME,
    'sandbox address': new URL(sandbox.origin).host
  }
  users.forEach(({ openid, token, refreshToken }, index) => {
    Object.assign(known, {
      [`openid ${index}`]: openid,
      [`token ${index}`]: token,
      [`refresh token ${index}`]: refreshToken
    })
  })
  return known
}

/** Every upstream call of the sandbox goes wrong in every way. */
function* everyFault(): Generator<Fault> {
  const ways = [{ delayMs: 400 }, { reset: true }, { garbage: true }, { httpStatus: 500 }, { httpStatus: 412 }]
  const errcodes = {
    code2session: [40029, 40163, 40226, 45011, 45009, 40125, 40164, 12345],
    stable_token: [40125, 40164, 40243],
    getuserphonenumber: [40029, 40013, 45011, 99999]
  }
  for (const [api, codes] of Object.entries(errcodes) as [keyof typeof errcodes, number[]][]) {
    for (const way of ways) yield { api, ...way }
    for (const errcode of codes) yield { api, errcode }
  }
  for (const way of ways) yield { api: 'unifiedorder', ...way }
  for (const errcode of ['ORDERPAID', 'SIGNERROR', 'NOTENOUGH']) yield { api: 'unifiedorder', errcode }
  yield { api: 'unifiedorder', errmsg: 'SIGN ERROR' }
}

interface Walker {
  world: World
  user: { openid: string; token: string; headers: { authorization: string } }
  /** All answers but those of successful logins, where tokens belong. */
  answers: string[]
}

async function send({ world, answers }: Walker, request: InjectOptions): Promise<void> {
  const answer = await world.app.inject({ remoteAddress: '203.0.113.77', ...request })
  if (!(answer.statusCode === 200 && answer.body.includes('refreshToken'))) answers.push(answer.body)
}

/** One fault, and the one request that runs into it. */
async function meetFault(walker: Walker, fault: Fault): Promise<void> {
  const { sandbox } = walker.world
  const { openid, headers } = walker.user
  sandbox.clearFaults()
  sandbox.fault(fault)
  if (fault.api === 'stable_token') {
    await walker.world.app.redis.del(walker.world.app.keys.accessToken(APPID))
  }
  if (fault.api === 'code2session') {
    await send(walker, { method: 'POST', url: '/api/login', payload: { code: sandbox.login({ appid: APPID }).code } })
  } else if (fault.api === 'unifiedorder') {
    await send(walker, {
      ...ORDER,
      payload: { ...ORDER_BODY, openid, outTradeNo: `o${randomBytes(8).toString('hex')}` }
    })
  } else {
    const { code } = sandbox.phoneButton({ appid: APPID, openid, phoneNumber: PHONE })
    await send(walker, { method: 'POST', url: '/api/phone', headers, payload: { code } })
  }
}

const ORDER = { method: 'POST', url: '/internal/pay/orders', headers: { authorization: `Bearer ${API_KEY}` } } as const
const ORDER_BODY = { description: NICKNAME, amount: 100 }

/** What a client can send wrong, each with something in it that must not come out. */
async function sendNonsense(walker: Walker): Promise<void> {
  const { user, world } = walker
  const { encryptedData, iv } = world.sandbox.phoneButton({ appid: APPID, openid: user.openid, phoneNumber: PHONE })
  const foreign = world.sandbox.phoneButton({
    appid: APPID,
    openid: user.openid,
    phoneNumber: PHONE,
    watermarkAppid: 'wx9999999999999999'
  })
  const { rawData } = world.sandbox.openData({ appid: APPID, openid: user.openid, data: { nickName: NICKNAME } })
  const post = (url: string, payload: string | object, headers: Record<string, string> = user.headers) =>
    send(walker, { method: 'POST', url, payload, headers })

  await post('/api/login', { code: 'x'.repeat(200), phone: PHONE })
  await post('/api/login', `{"code": "${PHONE}`, { 'content-type': 'application/json' })
  await post('/api/login', PHONE, { 'content-type': 'text/plain' })
  await post('/api/phone', { encryptedData, iv: iv.replace(/^.{4}/, 'AAAA') })
  await post('/api/phone', { encryptedData: encryptedData.slice(0, 64), iv })
  await post('/api/phone', { encryptedData: foreign.encryptedData, iv: foreign.iv })
  await post('/api/phone', { encryptedData, iv }, { authorization: `Bearer ${user.token}x` })
  await post('/api/phone', { encryptedData, iv }, { authorization: `Basic ${API_KEY}` })
  await post('/api/userdata', { rawData, signature: '0'.repeat(40) })
  await post('/internal/pay/orders', { ...ORDER_BODY, amount: PHONE }, { authorization: `Bearer ${API_KEY}` })
  await post('/internal/pay/orders', ORDER_BODY, { authorization: `Bearer ${API_KEY.slice(0, -1)}` })
  await post(`/wechat/pay/v2/${MCHID}/notify`, `<xml><attach>${PHONE}</attach><sign>${API_KEY}</sign></xml>`)
  await post(`/nowhere?access_token=${API_KEY}&phone=${PHONE}`, { phone: PHONE })
}

async function walkAll(
  t: Test,
  worldOptions: Parameters<typeof build>[1]
): Promise<Walker & { users: Walker['user'][] }> {
  const world = await build(t, worldOptions)
  const user = await logIn(world.app, world.sandbox)
  return { world, user, users: [user], answers: [] }
}

t.test('no log line and no refusal holds a secret or anything personal, whatever fails', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const walker = await walkAll(t, { redis, env: { WECHAT_TIMEOUT_MS: '150', LOG_LEVEL: 'trace' } })
  const { world, user } = walker
  const secrets = await secretsOf(world, [await logIn(world.app, world.sandbox, user.openid)])

  let faults = 0
  for (const fault of everyFault()) {
    await meetFault(walker, fault)
    faults++
  }
  world.sandbox.clearFaults()
  await sendNonsense(walker)
  world.backend.respond(500, 1)
  redis.pause()
  for (const url of ['/api/session', '/readyz']) await send(walker, { url, headers: user.headers })
  redis.resume()

  const codes = new Set(linesOf(world).flatMap(({ code }) => code ?? []))
  t.equal(faults, 39, 'all faults were met')
  for (const code of [
    'WECHAT_TIMEOUT',
    'WECHAT_UNREACHABLE',
    'WECHAT_BAD_RESPONSE',
    'WECHAT_CONFIG_INVALID',
    'WECHAT_REJECTED',
    'CODE_INVALID',
    'CODE_USED',
    'USER_BLOCKED',
    'WECHAT_RATE_LIMITED',
    'DECRYPT_FAILED',
    'WATERMARK_INVALID',
    'SIGNATURE_INVALID',
    'TOKEN_INVALID',
    'REDIS_UNAVAILABLE',
    'PAY_REJECTED',
    'FST_ERR_VALIDATION',
    'NOT_FOUND'
  ]) {
    t.ok(codes.has(code), `${code} was met`)
  }
  for (const [name, value] of Object.entries(secrets)) {
    t.ok(value !== undefined && value.length >= 8, `${name} is known to the test`)
    t.notOk(world.logs().includes(value ?? ''), `${name} is in no log line`)
    t.notOk(
      walker.answers.some((answer) => answer.includes(value ?? '')),
      `${name} is in no refusal`
    )
  }
  t.notOk(world.logs().includes('203.0.113.77'), 'no address of a client is in a log line')
})

t.test('a request is one line of JSON with id, route, status, duration and app', async (t) => {
  const world = await build(t)
  const { headers } = await logIn(world.app, world.sandbox)
  const before = linesOf(world).length
  await world.app.inject({
    url: '/api/session?token=in-the-query',
    headers: { ...headers, 'x-request-id': 'given-by-the-proxy' }
  })
  const lines = linesOf(world).slice(before)
  t.equal(lines.length, 1)
  t.match(lines[0], {
    level: 30,
    msg: 'request',
    reqId: 'given-by-the-proxy',
    route: 'GET /api/session',
    status: 200,
    durationMs: Number,
    appid: APPID
  })
  t.notOk(world.logs().includes('in-the-query'))
})

t.test('a refusal is logged at info with its code, a failure of ours at error', async (t) => {
  const world = await build(t)
  await world.app.inject({ url: '/api/session' })
  t.match(linesOf(world).at(-1), { level: 30, status: 401, code: 'TOKEN_MISSING', route: 'GET /api/session' })
  world.sandbox.fault({
    api: 'code2session',
    errcode: 40164,
    errmsg: 'invalid ip 198.51.100.9, not in whitelist rid: 623ea70a-74b9b592-3e3d489a'
  })
  const { code } = world.sandbox.login({ appid: APPID })
  const answer = await world.app.inject({ method: 'POST', url: '/api/login', payload: { code } })
  t.same(answer.json().wechat, { errcode: 40164 }, 'the answer to a mini-program says no more than the errcode')
  t.match(linesOf(world).at(-1), {
    level: 50,
    code: 'WECHAT_CONFIG_INVALID',
    errcode: 40164,
    errmsg: /198\.51\.100\.9/,
    detail: /whitelist/
  })
})

t.test('health probes are silent while all is well', async (t) => {
  const world = await build(t)
  const before = linesOf(world).length
  for (const url of ['/healthz', '/readyz']) t.equal((await world.app.inject({ url })).statusCode, 200)
  t.equal(linesOf(world).length, before)
})

t.test('a request that the client breaks off is logged too, without what had come of it', async (t) => {
  const routed = Promise.withResolvers<void>()
  const world = await build(t, { prepare: (app) => app.addHook('onRequest', async () => routed.resolve()) })
  await world.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = world.app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  const head = ['POST /api/login HTTP/1.1', 'host: x', 'content-type: application/json', 'content-length: 50']
  socket.write(`${head.join('\r\n')}\r\n\r\n{"code":"half-of-`)
  await routed.promise
  socket.resetAndDestroy()
  const isBrokenOff = ({ msg, route }: Line) =>
    msg === 'request broken off by the client' && route === 'POST /api/login'
  for (const giveUpAt = Date.now() + 5000; Date.now() < giveUpAt && !linesOf(world).some(isBrokenOff); )
    await setImmediate()
  t.equal(linesOf(world).filter(isBrokenOff).length, 1)
  t.notOk(world.logs().includes('half-of-'))
})

t.test('a path that cannot be read is refused in the shape of all refusals, logged, and not echoed', async (t) => {
  const world = await build(t)
  const answer = await world.app.inject({ url: '/api/%zz-not-to-be-echoed' })
  t.equal(answer.statusCode, 400)
  t.match(answer.json(), {
    statusCode: 400,
    code: 'FST_ERR_BAD_URL',
    error: 'Bad Request',
    message: String,
    requestId: String
  })
  t.match(answer.headers, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'x-request-id': String
  })
  t.match(linesOf(world).at(-1), { msg: 'request', status: 400, code: 'FST_ERR_BAD_URL' })
  t.notOk(`${answer.body}${world.logs()}`.includes('not-to-be-echoed'))
})
