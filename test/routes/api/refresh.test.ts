/** POST /api/token/refresh: each token has one successor, on every instance, and a stolen token ends its session. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { API_KEY, APPID, type BuildOptions, build, type LoggedIn, logIn, type World } from '../../helper.ts'

const START_MS = 1_800_000_000_000
const TTL_SECONDS = 3600

interface Scene extends World {
  user: LoggedIn
  /** Moves the clock of all instances. */
  pass(seconds: number): void
}

async function scene(t: Test, env: BuildOptions['env'] = {}): Promise<Scene> {
  let nowMs = START_MS
  const world = await build(t, {
    now: () => nowMs,
    env: { REFRESH_TTL: String(TTL_SECONDS), TOKEN_TTL: '100', ...env }
  })
  const pass = (seconds: number) => {
    nowMs += seconds * 1000
  }
  return { ...world, user: await logIn(world.app, world.sandbox), pass }
}

const refresh = (app: FastifyInstance, refreshToken: string) =>
  app.inject({ method: 'POST', url: '/api/token/refresh', payload: { refreshToken } })

const statusOf = async (app: FastifyInstance, token: string) =>
  (await app.inject({ url: '/api/session', headers: { authorization: `Bearer ${token}` } })).statusCode

t.test('refresh() gives new tokens for the same session, and moves its end on', async (t) => {
  const { app, user, pass } = await scene(t)
  pass(1000)
  const answer = await refresh(app, user.refreshToken)
  t.equal(answer.statusCode, 200)
  const { token, refreshToken, ...rest } = answer.json()
  t.match(rest, {
    tokenType: 'Bearer',
    expiresIn: 100,
    refreshExpiresIn: TTL_SECONDS,
    openid: user.openid,
    unionid: String
  })
  t.not(token, user.token)
  t.not(refreshToken, user.refreshToken)
  t.equal(await statusOf(app, token), 200)
  t.equal(await statusOf(app, user.token), 401, 'the token before has run out by itself')
  pass(TTL_SECONDS - 1)
  t.equal((await refresh(app, refreshToken)).statusCode, 200, 'longer after the login than one lifetime')
})

t.test(
  'refresh() of one token, on two instances at once and again within ten seconds, has one successor',
  async (t) => {
    const { app, another, user, pass } = await scene(t)
    const second = await another()
    const answers = await Promise.all(
      [app, second, app, second].map((instance) => refresh(instance, user.refreshToken))
    )
    pass(10)
    answers.push(await refresh(second, user.refreshToken))
    t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
    const successors = new Set(answers.map((answer) => answer.json().refreshToken))
    t.equal(successors.size, 1)
    t.equal((await refresh(app, [...successors][0])).statusCode, 200, 'and that one works')
  }
)

t.test('refresh() of a used token after that ends the session, also for who used it first', async (t) => {
  const { app, another, user, pass } = await scene(t)
  const { token, refreshToken } = (await refresh(app, user.refreshToken)).json()
  pass(11)
  const reused = await refresh(await another(), user.refreshToken)
  t.equal(reused.statusCode, 401)
  t.match(reused.json(), { code: 'REFRESH_REUSED' })
  t.equal(await statusOf(app, token), 401)
  t.match((await refresh(app, refreshToken)).json(), { code: 'SESSION_REVOKED' })
  t.equal(await app.redis.exists(app.keys.sessions(APPID, user.openid), app.keys.sessionKeys(APPID, user.openid)), 0)
})

t.test('refresh() of the token before the last one ends the session at once, but no other of the user', async (t) => {
  const { app, sandbox, user } = await scene(t)
  const other = await logIn(app, sandbox, user.openid)
  const { refreshToken } = (await refresh(app, user.refreshToken)).json()
  await refresh(app, refreshToken)
  t.match((await refresh(app, user.refreshToken)).json(), { code: 'REFRESH_REUSED' })
  t.equal(await statusOf(app, other.token), 200)
})

t.test('refresh() after REFRESH_TTL is REFRESH_EXPIRED, after logout SESSION_REVOKED', async (t) => {
  const { app, user, pass, sandbox } = await scene(t)
  const leaver = await logIn(app, sandbox)
  await app.inject({ method: 'POST', url: '/api/logout', headers: leaver.headers })
  t.match((await refresh(app, leaver.refreshToken)).json(), { statusCode: 401, code: 'SESSION_REVOKED' })
  pass(TTL_SECONDS)
  t.match((await refresh(app, user.refreshToken)).json(), { statusCode: 401, code: 'REFRESH_EXPIRED' })
})

t.test('refresh() refuses what is not ours, or of an app that is not configured', async (t) => {
  const { app, another, user } = await scene(t)
  const [payload = '', signature = ''] = user.refreshToken.split('.')
  const later = Buffer.from(payload, 'base64url').toString().replace('|0|', '|1|')
  const forged = [
    'rubbish',
    `${payload}.`,
    `${payload}.${signature}.${signature}`,
    `${Buffer.from(later).toString('base64url')}.${signature}`,
    user.token
  ]
  for (const token of forged) {
    const answer = await refresh(app, token)
    t.equal(answer.statusCode, 401)
    t.match(answer.json(), { code: 'REFRESH_INVALID' })
  }
  const elsewhere = await another({
    WECHAT_APPID: 'wx00000000000000ff',
    WECHAT_PAY_MCHID: undefined,
    WECHAT_PAY_API_V2_KEY: undefined
  })
  t.match((await refresh(elsewhere, user.refreshToken)).json(), { code: 'REFRESH_INVALID' })
  t.equal((await refresh(app, user.refreshToken)).statusCode, 200, 'none of that did any harm')
})

t.test('refresh() renews often, and the record of a session stays short', async (t) => {
  const { app, user, pass } = await scene(t)
  let { refreshToken } = user
  for (let times = 0; times < 40; times++) {
    pass(60)
    refreshToken = (await refresh(app, refreshToken)).json().refreshToken
  }
  const records = await app.redis.hvals(app.keys.sessions(APPID, user.openid))
  const record = records.find((value) => value.includes('.')) ?? ''
  const [created = '', ends = '', generation = '', renewed = ''] = record
    .split('.')
    .map((part) => Number.parseInt(part, 36))
  t.same(
    [created, ends, generation, renewed],
    [START_MS / 1000, START_MS / 1000 + 2400 + TTL_SECONDS, 40, START_MS / 1000 + 2400]
  )
  t.ok(record.length <= 40, record)
  t.equal(await app.redis.expiretime(app.keys.sessions(APPID, user.openid)), ends, 'Redis keeps it as long')
})

t.test('a session ends SESSION_MAX_AGE after its login, however often it is refreshed', async (t) => {
  const { app, user, pass } = await scene(t, { REFRESH_TTL: '100', TOKEN_TTL: '40', SESSION_MAX_AGE: '150' })
  const call = async (token: string, url = '/api/session') =>
    (await app.inject({ url, headers: { authorization: `Bearer ${token}` } })).json()
  const endsAt = new Date(START_MS + 150_000).toISOString()
  t.match(await call(user.token), { expiresAt: new Date(START_MS + 100_000).toISOString() })
  pass(80)
  const second = (await refresh(app, user.refreshToken)).json()
  t.match(second, { expiresIn: 40, refreshExpiresIn: 70 })
  t.match(await call(second.token), { expiresAt: endsAt })
  pass(50)
  const third = (await refresh(app, second.refreshToken)).json()
  t.match(third, { expiresIn: 20, refreshExpiresIn: 20 })
  const [, payload = ''] = String(third.token).split('.')
  t.equal(JSON.parse(Buffer.from(payload, 'base64url').toString()).exp, START_MS / 1000 + 150)
  const url = `/internal/apps/${APPID}/users/${user.openid}/sessions`
  const { items } = (await app.inject({ url, headers: { authorization: `Bearer ${API_KEY}` } })).json()
  t.match(items, [{ expiresAt: endsAt }])
  pass(19)
  t.match(await call(third.token), { expiresAt: endsAt })
  const last = (await refresh(app, third.refreshToken)).json()
  t.match(last, { expiresIn: 1, refreshExpiresIn: 1 })
  pass(1)
  t.match(await call(last.token), { code: 'TOKEN_EXPIRED' })
  t.match((await refresh(app, last.refreshToken)).json(), { code: 'REFRESH_EXPIRED' })
})

t.test('a session of the version before, or of another SESSION_MAX_AGE, ends by the one that is set now', async (t) => {
  const { app, another, user, pass } = await scene(t, { REFRESH_TTL: '1000', TOKEN_TTL: '900', SESSION_MAX_AGE: '0' })
  const place = app.keys.sessions(APPID, user.openid)
  t.equal(await app.redis.expiretime(place), START_MS / 1000 + 1000)
  pass(500)
  const second = (await refresh(app, user.refreshToken)).json()
  t.match(second, { expiresIn: 900, refreshExpiresIn: 1000 }, 'without one it goes on')
  const bounded = await another({ SESSION_MAX_AGE: '600' })
  t.equal(await statusOf(bounded, second.token), 200)
  pass(99)
  t.match((await refresh(bounded, second.refreshToken)).json(), { expiresIn: 1, refreshExpiresIn: 1 })
  pass(1)
  t.equal(await statusOf(bounded, second.token), 401)
  t.match((await refresh(bounded, second.refreshToken)).json(), { code: 'SESSION_REVOKED' })
  t.equal(await statusOf(app, second.token), 401, 'and what the one wrote holds for the other')
})
