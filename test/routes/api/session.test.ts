/** Sessions: who gets in, when they end, and how they lie in Redis. Forged tokens: tokens.test.ts. */
import t from 'tap'
import { APPID, build, logIn, OTHER_APPID, type World } from '../../helper.ts'
import { bearer, bothApps, claims, get, keysOf, login, post, refused, sessionKeyOf } from './client.ts'

/** A clock that stands until it is moved. */
function clock() {
  let ms = Date.now()
  return {
    now: () => ms,
    advance: (seconds: number) => {
      ms += seconds * 1000
    }
  }
}

t.test('Authorization is read in every spelling of Bearer, and in no other', async (t) => {
  const { app, sandbox } = await build(t)
  const { token } = await logIn(app, sandbox)
  const answer = (authorization: string) => get(app, '/api/verify', { authorization })
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer  '])
    t.equal((await answer(`${scheme} ${token} `)).statusCode, 200)
  for (const nothing of ['', 'Bearer', 'bearer ']) refused(t, await answer(nothing), 401, 'TOKEN_MISSING')
  refused(t, await get(app, '/api/verify'), 401, 'TOKEN_MISSING')
  for (const wrong of [
    token,
    `Basic ${token}`,
    `Bearer${token}`,
    `Bearer ${token} x`,
    `Bearer ${token}, Bearer ${token}`
  ])
    refused(t, await answer(wrong), 401, 'TOKEN_INVALID')
})

t.test('tokens and sessions end by the clock', async (t) => {
  const { now, advance } = clock()
  const { app, sandbox } = await build(t, { env: { TOKEN_TTL: '1', REFRESH_TTL: '60' }, now })
  const patient = await build(t, { env: { TOKEN_TTL: '1000', REFRESH_TTL: '60' }, now })
  const short = await logIn(app, sandbox)
  const long = await logIn(patient.app, patient.sandbox)
  t.equal((await get(app, '/api/session', short.headers)).statusCode, 200)
  advance(1)
  refused(t, await get(app, '/api/session', short.headers), 401, 'TOKEN_EXPIRED')
  advance(58)
  t.equal((await get(patient.app, '/api/session', long.headers)).statusCode, 200)
  advance(1)
  refused(t, await get(patient.app, '/api/session', long.headers), 401, 'SESSION_REVOKED')
})

t.test('session() and verify() tell who is logged in', async (t) => {
  const { now, advance } = clock()
  const { app, sandbox } = await build(t, { env: { SESSION_KEY_TTL: '10' }, now })
  const { openid, token, headers } = await logIn(app, sandbox)
  const { unionid, sid } = claims(token)
  const createdAt = new Date(Math.floor(now() / 1000) * 1000)
  const shown = { appid: APPID, openid, unionid, sessionId: sid, createdAt: createdAt.toISOString() }
  const expiresAt = new Date(createdAt.getTime() + 2_592_000_000).toISOString()
  t.same((await get(app, '/api/session', headers)).json(), { ...shown, expiresAt, sessionKeyHeld: true })
  advance(10)
  t.equal((await get(app, '/api/session', headers)).json().sessionKeyHeld, false)

  const named = { 'x-wx-appid': APPID, 'x-wx-openid': openid, 'x-wx-unionid': unionid, 'x-wx-session': sid }
  const answer = await get(app, '/api/verify', { ...headers, 'x-wx-openid': 'oForged' })
  t.same(answer.json(), { active: true })
  t.match(answer.headers, named)
  const head = await app.inject({ method: 'HEAD', url: '/api/verify', headers })
  t.match(head.headers, named)
  t.equal(head.statusCode, 200)
  t.equal(head.body, '')
})

t.test('verify() lets through the users of the app that is named, and no others', async (t) => {
  const { another, sandbox, secrets } = await build(t)
  const app = await another(bothApps(t, secrets))
  const tokens = new Map<string, Record<string, string>>()
  for (const appid of [APPID, OTHER_APPID]) {
    const answer = (await login(app, sandbox.login({ appid }).code, appid)).json()
    tokens.set(appid, { authorization: `Bearer ${answer.token}` })
  }
  for (const [appid, headers] of tokens) {
    const other = appid === APPID ? OTHER_APPID : APPID
    for (const query of ['', '?', `?appid=${appid}`, `?%61ppid=${appid}`, `?x=1&appid=${appid}&y`, '?code=1&appId=x'])
      t.match((await get(app, `/api/verify${query}`, headers)).headers, { 'x-wx-appid': appid }, query)
    for (const query of [
      `?appid=${other}`,
      `?x=1&appid=${other}`,
      `?appid=wx${'0'.repeat(16)}`,
      '?appid=',
      '?appid',
      '?appid=x'
    ]) {
      const answer = await get(app, `/api/verify${query}`, headers)
      refused(t, answer, 401, 'TOKEN_INVALID')
      t.notOk(answer.headers['x-wx-openid'], 'and tells nothing of the user')
    }
    for (const query of [`?appid=${appid}&appid=${appid}`, `?appid=${other}&appid=${appid}`])
      refused(t, await get(app, `/api/verify${query}`, headers), 400, 'FST_ERR_VALIDATION')
  }
  refused(t, await get(app, `/api/verify?appid=${APPID}`), 401, 'TOKEN_MISSING')
})

t.test('logout() ends the session at once on every instance, alone or with all others', async (t) => {
  const { app, another, sandbox } = await build(t)
  const other = await another()
  const [first, second, third] = [await logIn(app, sandbox), await logIn(app, sandbox), await logIn(app, sandbox)]
  const again = await logIn(app, sandbox, first.openid)
  t.equal((await get(other, '/api/verify', first.headers)).statusCode, 200)
  const left = await post(app, '/api/logout', { everywhere: false }, first.headers)
  t.equal(left.statusCode, 204)
  t.equal(left.body, '')
  refused(t, await get(other, '/api/verify', first.headers), 401, 'SESSION_REVOKED')
  t.equal((await get(other, '/api/verify', again.headers)).statusCode, 200, 'the other session stays')

  const more = await logIn(app, sandbox, first.openid)
  t.equal((await post(other, '/api/logout', { everywhere: true }, more.headers)).statusCode, 204)
  for (const { headers } of [again, more]) refused(t, await get(app, '/api/verify', headers), 401, 'SESSION_REVOKED')

  const bare = { method: 'POST', url: '/api/logout' } as const
  t.equal((await app.inject({ ...bare, headers: second.headers })).statusCode, 204, 'no body')
  const asWx = { ...third.headers, 'content-type': 'application/json' }
  for (const payload of ['{"everywhere":1}', '{"all":true}', '{"everywhere":']) {
    const answer = await app.inject({ ...bare, headers: asWx, payload })
    refused(t, answer, 400, 'FST_ERR', { code: /^FST_ERR/ })
  }
  t.equal((await app.inject({ ...bare, headers: asWx })).statusCode, 204, 'no body, as wx.request sends it')
  refused(t, await get(app, '/api/verify', third.headers), 401, 'SESSION_REVOKED')
})

t.test('a user has at most 20 sessions: the oldest ends', async (t) => {
  const { now, advance } = clock()
  const { app, sandbox } = await build(t, { env: { RATE_LIMIT: '0' }, now })
  const first = await logIn(app, sandbox)
  const others = []
  while (others.length < 20) {
    advance(1)
    others.push(await logIn(app, sandbox, first.openid))
  }
  refused(t, await get(app, '/api/verify', first.headers), 401, 'SESSION_REVOKED')
  for (const { headers } of others) t.equal((await get(app, '/api/verify', headers)).statusCode, 200)
  t.equal((await get(app, '/api/verify', (await logIn(app, sandbox)).headers)).statusCode, 200, 'of each user')
})

/** One session of a user for whom three session_keys are held. */
async function oneSessionThreeKeys({ app, sandbox }: World) {
  const first = await logIn(app, sandbox)
  const second = await logIn(app, sandbox, first.openid)
  const third = await logIn(app, sandbox, first.openid)
  for (const { headers } of [first, second]) await post(app, '/api/logout', {}, headers)
  return third
}

t.test('a session takes at most 600 bytes of Redis, and every key has an end', async (t) => {
  const world = await build(t)
  const { app } = world
  const { openid } = await oneSessionThreeKeys(world)
  const places = [app.keys.sessions(APPID, openid), app.keys.sessionKeys(APPID, openid)]
  t.equal(await app.redis.hlen(places[0] as string), 3, 'one session, unionid, end of the key')
  const history = await app.redis.getBuffer(places[1] as string)
  t.equal(history?.toString('latin1').split('k1').length, 4, 'three sealed keys')
  const sizes = await Promise.all(
    places.map(async (place) => Number(await app.redis.call('MEMORY', 'USAGE', place, 'SAMPLES', '0')))
  )
  const [sessions = 0, keys = 0] = sizes
  t.ok(sessions > 100 && keys > 100 && sessions + keys <= 600, `${sessions} + ${keys} bytes`)

  const ends = new Map<string, number>()
  const { eventQueue, refundConfirmations } = app.keys
  for (const place of await keysOf(world))
    if (![eventQueue, refundConfirmations].some((queue) => place.startsWith(queue)))
      ends.set(place, await app.redis.ttl(place))
  t.ok(ends.size >= 3, 'codes are there too')
  for (const [place, seconds] of ends) t.ok(seconds > 0 && seconds <= 2_592_000, `${place}: ${seconds}`)
  t.ok(Number(ends.get(places[1] as string)) <= 7200, 'session_keys end with SESSION_KEY_TTL')
})

t.test('session_keys lie sealed in Redis, for one place and one key', async (t) => {
  const old = `old:${Buffer.alloc(32, 1).toString('base64')}`
  const world = await build(t, { env: { ENCRYPTION_KEYS: old } })
  const { app, another, sandbox } = world
  const { openid, headers } = await logIn(app, sandbox)
  const data = sandbox.openData({ appid: APPID, openid, data: { openGId: 'tG' } })
  const { encryptedData, iv } = data
  const read = (instance = app, as = headers) => post(instance, '/api/userdata', { encryptedData, iv }, as)
  const history = (id: string) => app.redis.getBuffer(app.keys.sessionKeys(APPID, id))
  t.equal((await read()).statusCode, 200)
  const sealed = (await history(openid))?.toString('latin1')
  t.notMatch(sealed, Buffer.from(await sessionKeyOf(world, openid), 'base64').toString('latin1'))

  const wrongKey = await another({ ENCRYPTION_KEYS: `old:${Buffer.alloc(32, 3).toString('base64')}` })
  refused(t, await read(wrongKey), 409, 'SESSION_KEY_EXPIRED')
  const thief = await logIn(app, sandbox)
  await app.redis.copy(app.keys.sessionKeys(APPID, openid), app.keys.sessionKeys(APPID, thief.openid), 'REPLACE')
  refused(t, await read(app, thief.headers), 409, 'SESSION_KEY_EXPIRED')
})

t.test('the first script of an instance may come together with any command', async (t) => {
  const { app, another, sandbox } = await build(t)
  const { openid, token } = await logIn(app, sandbox)
  const id = { appid: APPID, openid, sid: String(claims(token).sid) }
  const sessionKey = Buffer.alloc(16)
  const fresh = await another()
  const [, opened] = await Promise.all([
    fresh.redis.get('anything'),
    fresh.sessions.store.open({ appid: APPID, openid, sessionKey }),
    fresh.sessions.store.close(id)
  ])
  t.match(await app.sessions.store.find(opened), { sid: opened.sid })
  t.equal(await app.sessions.store.find(id), undefined)
})

t.test('/internal answers 404 where no INTERNAL_API_KEYS are configured', async (t) => {
  const { another } = await build(t)
  const app = await another({ INTERNAL_API_KEYS: undefined })
  for (const headers of [{}, bearer('x'.repeat(32))])
    refused(t, await post(app, '/internal/pay/orders', {}, headers), 404, 'NOT_FOUND')
})
