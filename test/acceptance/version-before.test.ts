/**
 * This version and the one before on one Redis, as during a rolling upgrade and after going back: each has to serve
 * what the other wrote. Both run as separate processes with the same settings. The guarantees are in docs/upgrading.md.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { startBackend } from '../../sandbox/backend.ts'
import { makeMerchant, type PayInput, startSandbox } from '../../sandbox/index.ts'
import { payEnvironment } from '../../tools/pay-environment.ts'
import { startRedis } from '../../tools/redis.ts'
import { API_KEY, APPID, type Environment, MCHID } from '../helper.ts'
import { type Instance, startInstance } from './instances.ts'
import { isOutOfReach, unpackVersionBefore } from './version-before.ts'

/** Tries are repeated after five seconds, and a worker that is busy takes a while. */
const PATIENCE_MS = 30_000
/** A tenth of it for logins of one address. */
const LIMITS = { RATE_LIMIT: '100' }
const LOGINS = 10

// biome-ignore lint/suspicious/noExplicitAny: answers are read by their fields, as a client does
type Json = any

interface Answer {
  status: number
  json: Json
}

interface Call {
  method?: 'GET' | 'POST' | 'DELETE'
  body?: object
  token?: string
  address?: string
}

/** What a client does when a busy machine answers OVERLOADED. */
const OVERLOADED_TRIES = 20
const OVERLOADED_PAUSE_MS = 250

let clients = 0

function newAddress(): string {
  clients += 1
  return `198.51.${clients >> 8}.${clients % 256}`
}

/** Each call from an address of its own, so that no limit is met by chance. */
async function call(at: Instance, path: string, given: Call = {}): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    const answer = await send(at, path, { address: newAddress(), ...given })
    if (answer.json.code !== 'OVERLOADED' || tries === OVERLOADED_TRIES) return answer
    await pause(OVERLOADED_PAUSE_MS)
  }
}

async function send({ origin }: Instance, path: string, { body, token, address, method }: Call): Promise<Answer> {
  const answer = await request(`${origin}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(address && { 'x-forwarded-for': address }),
      ...(body && { 'content-type': 'application/json' }),
      ...(token && { authorization: `Bearer ${token}` })
    },
    body: body === undefined ? null : JSON.stringify(body)
  })
  const text = await answer.body.text()
  return { status: answer.statusCode, json: text.startsWith('{') ? JSON.parse(text) : {} }
}

const internal = (at: Instance, path: string, body?: object) =>
  call(at, `/internal/${path}`, { token: API_KEY, ...(body && { body }) })

async function start(t: Test) {
  const secret = randomBytes(16).toString('hex')
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const { merchant, secrets } = makeMerchant({ mchid: MCHID, appids: [APPID] })
  const redis = await startRedis()
  const sandbox = await startSandbox({ apps: [{ appid: APPID, secret, unionids: true }], merchants: [merchant] })
  const backend = await startBackend({ secret: webhookSecret })
  t.teardown(async () => {
    await Promise.all([sandbox.close(), backend.close()])
    await redis.stop()
  })
  const settings: Environment = {
    LOG_LEVEL: 'error',
    PUBLIC_URL: 'https://wx.example.test',
    REDIS_URL: redis.url,
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    JWT_SECRET: randomBytes(32).toString('hex'),
    WECHAT_APPID: APPID,
    WECHAT_SECRET: secret,
    ...payEnvironment(secrets),
    WECHAT_API_ORIGIN: sandbox.origin,
    WECHAT_PAY_ORIGIN: sandbox.origin,
    INTERNAL_API_KEYS: API_KEY,
    WEBHOOK_URL: backend.webhookUrl,
    WEBHOOK_SECRET: webhookSecret,
    RECONCILE: 'off',
    ...LIMITS
  }
  const folder = unpackVersionBefore(t)
  return {
    sandbox,
    backend,
    before: (roles: string) => startInstance(t, { ...settings, ROLES: roles }, join(folder, 'server.ts')),
    now: (roles: string) => startInstance(t, { ...settings, ROLES: roles })
  }
}

type World = Awaited<ReturnType<typeof start>>

async function logIn({ sandbox }: World, at: Instance, openid?: string) {
  const { code } = sandbox.login({ appid: APPID, ...(openid && { openid }) })
  const { status, json } = await call(at, '/api/login', { body: { code } })
  if (status !== 200) throw new Error(`login failed: ${JSON.stringify(json)}`)
  return { code, ...json } as { code: string; openid: string; unionid: string; token: string; refreshToken: string }
}

const statusOf = async (at: Instance, token: string) => (await call(at, '/api/session', { token })).status

/** Sessions that `from` began, at `to`. */
async function checkSessions(t: Test, world: World, from: Instance, to: Instance): Promise<void> {
  const { token, refreshToken, openid, unionid, code } = await logIn(world, from)
  t.match(await call(to, '/api/session', { token }), { status: 200, json: { openid, unionid, sessionKeyHeld: true } })
  t.match(await internal(to, 'introspect', { token }), { json: { active: true, sub: openid } })
  const again = await call(to, '/api/login', { body: { code } })
  t.match(again, { status: 200, json: { openid } }, 'the same code is one login')
  const { items } = (await internal(to, `apps/${APPID}/users/${openid}/sessions`)).json
  t.equal(items.length, 1)

  const second = (await call(to, '/api/token/refresh', { body: { refreshToken } })).json
  t.equal(await statusOf(from, second.token), 200)
  const third = await call(from, '/api/token/refresh', { body: { refreshToken: second.refreshToken } })
  t.equal(third.status, 200)
  t.equal(await statusOf(to, third.json.token), 200)
  const repeated = await call(to, '/api/token/refresh', { body: { refreshToken: second.refreshToken } })
  t.equal(repeated.json.refreshToken, third.json.refreshToken, 'one successor, whoever is asked')
  const stolen = await call(to, '/api/token/refresh', { body: { refreshToken } })
  t.match(stolen, { status: 401, json: { code: 'REFRESH_REUSED' } })
  t.match(await call(from, '/api/session', { token: third.json.token }), { json: { code: 'SESSION_REVOKED' } })

  const other = await logIn(world, from)
  t.equal((await call(to, '/api/logout', { body: {}, token: other.token })).status, 204)
  t.equal(await statusOf(from, other.token), 401)
}

/** session_keys that `from` was given, at `to`: also the one before a login at `to`. */
async function checkSessionKeys(t: Test, world: World, from: Instance, to: Instance): Promise<void> {
  const { sandbox } = world
  const user = await logIn(world, from)
  const { encryptedData, iv } = sandbox.phoneButton({
    appid: APPID,
    openid: user.openid,
    phoneNumber: '13000000000'
  })
  const phone = (at: Instance, token: string) => call(at, '/api/phone', { body: { encryptedData, iv }, token })
  t.match(await phone(to, user.token), { status: 200, json: { purePhoneNumber: '13000000000' } })
  const { token } = await logIn(world, to, user.openid)
  t.match(await phone(from, token), { status: 200 }, 'the key before is still held')
  const sign = (at: Instance) => internal(at, `apps/${APPID}/users/${user.openid}/session-key/sign`, { data: 'x' })
  t.same((await sign(from)).json, (await sign(to)).json)
  const url = `/internal/apps/${APPID}/users/${user.openid}/sessions`
  t.equal((await call(to, url, { method: 'DELETE', token: API_KEY })).status, 204)
  t.equal(await statusOf(from, token), 401)
}

/** `to` counts on from the counts of `from`, and uses what `from` fetched. */
async function checkShared(t: Test, { sandbox }: World, from: Instance, to: Instance): Promise<void> {
  const address = newAddress()
  for (let count = 0; count < LOGINS; count += 1) {
    const { json } = await call(count % 2 ? from : to, '/api/login', { body: { code: 'no-code' }, address })
    t.equal(json.code, 'CODE_INVALID')
  }
  for (const at of [from, to])
    t.match(await call(at, '/api/login', { body: { code: 'no-code' }, address }), { status: 429 })
  sandbox.clearCalls()
  const tokens = [from, to].map(async (at) => (await internal(at, `apps/${APPID}/access-token`)).json.accessToken)
  const [one, other] = await Promise.all(tokens)
  t.ok(one)
  t.equal(one, other)
  t.ok(sandbox.calls().filter(({ api }) => api === 'stable_token').length <= 1)
}

interface Paid {
  id: string
  outTradeNo: string
}

/** An order made at `from`. The callback of its payment comes to `to`. */
async function pay(
  { sandbox }: World,
  api: 'v2' | 'v3',
  from: Instance,
  to: Instance[],
  change: Partial<PayInput> = {}
) {
  const outTradeNo = randomBytes(8).toString('hex')
  const order = { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o', outTradeNo, description: 'tea', amount: 88, api }
  const { json } = await internal(from, 'pay/orders', order)
  const notifyUrls = to.map(({ origin }) => `${origin}/wechat/pay/${api}/${MCHID}/notify`)
  const { transactionId, notices } = await sandbox.pay({ prepayId: json.prepayId, notifyUrls, times: 1, ...change })
  return { id: `pay_${MCHID}_${transactionId}`, outTradeNo, notices }
}

const isTaken = (id: string) => (event: { id: string; accepted: boolean }) => event.id === id && event.accepted

/** Orders and refunds that `from` made, at `to`. */
async function checkPayments(t: Test, world: World, from: Instance, to: Instance): Promise<void> {
  const { sandbox, backend } = world
  for (const api of ['v2', 'v3'] as const) {
    const paid = await pay(world, api, from, [to, from])
    t.match(await backend.waitFor(isTaken(paid.id), PATIENCE_MS), { data: { orderKnown: true, amount: { total: 88 } } })
    t.equal(backend.events().filter(({ id }) => id === paid.id).length, 1, 'told at both, and one event')
    t.match(await internal(to, `events/${paid.id}`), { status: 200, json: { id: paid.id } })
    t.match(await internal(to, `pay/orders/${paid.outTradeNo}`), { status: 200, json: { state: 'SUCCESS' } })

    const refund = { outTradeNo: paid.outTradeNo, outRefundNo: `R${paid.outTradeNo}`, amount: 30, total: 88 }
    const made = await internal(from, 'pay/refunds', refund)
    t.equal(made.status, 200)
    t.same((await internal(to, 'pay/refunds', refund)).json, made.json, 'the same refund, not a second one')
    t.same((await internal(to, `pay/refunds/${refund.outRefundNo}`)).json, made.json)
    t.equal(sandbox.order(paid.outTradeNo).refunds.length, 1)
  }
}

/**
 * A payment with another amount than the order that `from` made. `to` quarantines it, and each version lists and
 * retries the entries of the other.
 */
async function checkQuarantine(t: Test, world: World, from: Instance, to: Instance): Promise<void> {
  for (const [keeper, reader] of [
    [to, from],
    [from, to]
  ] as const) {
    const { id } = await pay(world, 'v2', from, [keeper], { overrides: { total_fee: '1', cash_fee: '1' } })
    const { items } = (await internal(reader, 'callbacks/quarantined')).json
    const [entry] = items.filter(({ identity }: Json) => identity === id)
    t.match(entry, { reason: 'amount', door: 'pay-v2' })
    const retried = await internal(reader, `callbacks/quarantined/${entry.id}/retry`, {})
    t.match(retried, { status: 202, json: { verdict: 'quarantined', reason: 'amount' } }, 'it is opened and judged')
  }
  const forged = { method: 'POST', body: {} } as const
  await call(to, `/wechat/pay/v2/${MCHID}/notify`, forged)
  t.match((await internal(from, 'callbacks/refused?limit=1')).json, { items: [{ reason: /./ }] })
}

const CHECKS = [checkSessions, checkSessionKeys, checkShared, checkPayments, checkQuarantine]

async function checkBothWays(t: Test, world: World, before: Instance, now: Instance): Promise<void> {
  for (const check of CHECKS) {
    await t.test(`${check.name}: of the version before, at this one`, (t) => check(t, world, before, now))
    await t.test(`${check.name}: of this version, at the one before`, (t) => check(t, world, now, before))
  }
}

/**
 * Two events: the receiver refuses one for good and one for now. `at` records them, and the running worker tries them.
 */
async function leaveBehind(world: World, at: Instance): Promise<{ failed: Paid; waiting: Paid }> {
  const { backend } = world
  const told = async (status: number) => {
    backend.respond(status)
    const paid = await pay(world, 'v3', at, [at])
    await backend.waitFor(({ id }) => id === paid.id, PATIENCE_MS)
    return paid
  }
  return { failed: await told(410), waiting: await told(500) }
}

/**
 * Events that the other version's worker left are delivered: waiting ones by themselves, failed ones when `at` sends
 * them again.
 */
async function checkLeft(
  t: Test,
  { backend }: World,
  at: Instance,
  left: { failed: Paid; waiting: Paid }
): Promise<void> {
  t.match((await internal(at, 'events?state=failed')).json.items, [{ id: left.failed.id, lastStatus: 410 }])
  t.equal((await internal(at, `events/${left.failed.id}/redeliver`, {})).status, 202)
  for (const { id } of [left.failed, left.waiting])
    t.match(await backend.waitFor(isTaken(id), PATIENCE_MS), { attempts: 2, data: { orderKnown: true } })
}

t.test('this version and the one before serve what the other wrote', { skip: isOutOfReach() }, async (t) => {
  const world = await start(t)
  const { backend } = world
  // What is recorded is delivered by the version before.
  const [before, now] = await Promise.all([world.before('api,worker'), world.now('api')])
  await checkBothWays(t, world, before, now)
  const leftBefore = await leaveBehind(world, before)
  t.equal(await before.stop('SIGTERM'), 0)

  // Now by this version.
  const [beforeAgain, worker] = await Promise.all([world.before('api'), world.now('api,worker')])
  await t.test('what the version before left is delivered', (t) => checkLeft(t, world, now, leftBefore))
  const recorded = await pay(world, 'v2', beforeAgain, [beforeAgain])
  t.match(await backend.waitFor(isTaken(recorded.id), PATIENCE_MS), { attempts: 1 })
  const leftNow = await leaveBehind(world, now)
  t.same(await Promise.all([worker, now].map(({ stop }) => stop('SIGTERM'))), [0, 0])

  await world.before('worker')
  await t.test('and the way back: what this version left, too', (t) => checkLeft(t, world, beforeAgain, leftNow))
})
