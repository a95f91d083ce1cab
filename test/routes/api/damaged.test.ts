/** Damaged values in Redis count as absent: no call fails with 500 because of them, and the next login repairs them. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { APPID, build, type LoggedIn, logIn, type World } from '../../helper.ts'
import { ask as askInternal, sessionsUrl } from '../internal/backend.ts'
import { callsOf, claims, codeKey, get, login, post } from './client.ts'

type Damage = (world: World, user: LoggedIn) => Promise<unknown>

const hashOf = ({ app }: World, { openid }: LoggedIn) => app.keys.sessions(APPID, openid)
const blobOf = ({ app }: World, { openid }: LoggedIn) => app.keys.sessionKeys(APPID, openid)
const sidOf = ({ token }: LoggedIn) => String(claims(token).sid)

const record =
  (text: string | Buffer): Damage =>
  (world, user) =>
    world.app.redis.hset(hashOf(world, user), sidOf(user), text)

/** A key of another type, in the place of the one that `placeOf` names. */
const another = (placeOf: typeof hashOf, type: 'string' | 'list' | 'set' | 'hash' | 'zset'): Damage => {
  const make: Record<typeof type, (app: FastifyInstance, place: string) => Promise<unknown>> = {
    string: (app, place) => app.redis.set(place, 'x'),
    list: (app, place) => app.redis.rpush(place, 'x'),
    set: (app, place) => app.redis.sadd(place, 'x'),
    hash: (app, place) => app.redis.hset(place, 'x', 'x'),
    zset: (app, place) => app.redis.zadd(place, 1, 'x')
  }
  return async (world, user) => {
    const place = placeOf(world, user)
    await world.app.redis.del(place)
    await make[type](world.app, place)
  }
}

const SESSIONS: Readonly<Record<string, Damage>> = {
  'an empty record': record(''),
  'a record of one part': record('x'),
  'a record of two parts': record('x.y'),
  'a record with an empty part': record('sv8zpc..0'),
  'a record without its first part': record('.sv8zpc.0'),
  'a record with too many parts': record('sv8zpc.zv8zpc.0.sv8zpc.0'),
  'a record in upper case': record('SV8ZPC.ZV8ZPC.0'),
  'a record with a sign': record('-sv8zpc.zv8zpc.0'),
  'a record with a blank': record('sv8zpc.zv8zpc.0 '),
  'a record beyond base 36': record(`sv8zpc.${'z'.repeat(40)}.0`),
  'a record whose generation overflows': record(`sv8zpc.zv8zpc.${'z'.repeat(13)}`),
  'a record of bytes': record(Buffer.from([0, 255, 46, 46, 254, 10])),
  'a record of JSON': record('{"created":1}'),
  'a huge record': record('1'.repeat(100_000)),
  'a text in place of the sessions': another(hashOf, 'string'),
  'a list in place of the sessions': another(hashOf, 'list'),
  'a set in place of the sessions': another(hashOf, 'set')
}

for (const [what, damage] of Object.entries(SESSIONS)) {
  t.test(`${what} is no session, until the next login`, async (t) => {
    const world = await build(t)
    const { app, sandbox, logs } = world
    const user = await logIn(app, sandbox)
    await damage(world, user)
    const { code } = sandbox.phoneButton({ appid: APPID, openid: user.openid, phoneNumber: '13000000000' })
    const refresh = { refreshToken: user.refreshToken }
    const answers = {
      session: await get(app, '/api/session', user.headers),
      verify: await get(app, '/api/verify', user.headers),
      phone: await post(app, '/api/phone', { code }, user.headers),
      refresh: await post(app, '/api/token/refresh', refresh)
    }
    for (const [call, answer] of Object.entries(answers))
      t.match(answer.json(), { statusCode: 401, code: 'SESSION_REVOKED' }, call)
    const introspection = { method: 'POST', url: '/internal/introspect', payload: { token: user.token } } as const
    t.same((await askInternal(app, introspection)).json(), { active: false })
    t.same((await askInternal(app, { url: sessionsUrl(user.openid) })).json(), { items: [] })
    t.equal(logs().split('damaged in Redis').length, 2, 'and it is logged once')

    const again = await logIn(app, sandbox, user.openid)
    t.equal((await get(app, '/api/session', again.headers)).statusCode, 200)
    t.same(
      Object.keys(await app.redis.hgetall(hashOf(world, user))).sort(),
      [sidOf(again), 'k', 'u'].sort(),
      'repaired'
    )
    t.ok((await app.redis.ttl(hashOf(world, user))) <= 2_592_000)
    t.equal((await post(app, '/api/token/refresh', { refreshToken: again.refreshToken })).statusCode, 200)
  })
}

t.test('whoever has a damaged session can still be logged out, and everywhere', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  for (const damage of [another(hashOf, 'list'), record('x.y')]) {
    const user = await logIn(app, sandbox)
    await damage(world, user)
    const answer = await askInternal(app, { method: 'DELETE', url: sessionsUrl(user.openid) })
    t.equal(answer.statusCode, 204)
    t.equal(await app.redis.exists(hashOf(world, user), blobOf(world, user)), 0)
  }
  const user = await logIn(app, sandbox)
  await another(hashOf, 'set')(world, user)
  await app.sessions.store.close({ appid: APPID, openid: user.openid, sid: sidOf(user) })
  t.equal(await app.redis.exists(hashOf(world, user), blobOf(world, user)), 0)
})

t.test('a damaged session leaves the others of its user alone', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  const one = await logIn(app, sandbox)
  const two = await logIn(app, sandbox, one.openid)
  await record('x.y')(world, one)
  t.equal((await get(app, '/api/session', two.headers)).statusCode, 200)
  t.equal((await askInternal(app, { url: sessionsUrl(one.openid) })).json().items.length, 1)
  t.equal((await post(app, '/api/logout', {}, two.headers)).statusCode, 204)
})

t.test('damaged fields of the user harm no session', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  for (const damaged of ['', 'a\nb', 'ü', Buffer.from([0, 255]), 'x'.repeat(200)]) {
    const user = await logIn(app, sandbox)
    await app.redis.hset(hashOf(world, user), { u: damaged, k: damaged })
    const verified = await get(app, '/api/verify', user.headers)
    t.equal(verified.statusCode, 200)
    t.notOk(verified.headers['x-wx-unionid'])
    t.match((await get(app, '/api/session', user.headers)).json(), { sessionKeyHeld: false })
    t.equal((await post(app, '/api/token/refresh', { refreshToken: user.refreshToken })).statusCode, 200)
  }
})

const blob =
  (change: (whole: Buffer) => Buffer): Damage =>
  async ({ app }, { openid }) => {
    const place = app.keys.sessionKeys(APPID, openid)
    await app.redis.set(place, change((await app.redis.getBuffer(place)) ?? Buffer.alloc(0)), 'KEEPTTL')
  }

const withByte = (at: number, value: number) => (whole: Buffer) => {
  const changed = Buffer.from(whole)
  changed[at] = value
  return changed
}

const KEYS: Readonly<Record<string, Damage>> = {
  nothing: blob(() => Buffer.alloc(0)),
  'one byte': blob(() => Buffer.from([7])),
  'a head that is cut short': blob((whole) => whole.subarray(0, 8)),
  'a head alone': blob((whole) => whole.subarray(0, 9)),
  'a key that is cut short': blob((whole) => whole.subarray(0, -1)),
  'a length that is too small': blob(withByte(8, 3)),
  'a length that is too great': blob(withByte(8, 255)),
  'no length': blob(withByte(8, 0)),
  'another byte in the key': blob((whole) => withByte(whole.length - 1, (whole.at(-1) ?? 0) ^ 1)(whole)),
  zeros: blob(() => Buffer.alloc(500)),
  ones: blob(() => Buffer.alloc(500, 255)),
  'any bytes': blob(() => randomBytes(500)),
  'a list': another(blobOf, 'list'),
  'a hash': another(blobOf, 'hash'),
  'a sorted set': another(blobOf, 'zset')
}

for (const [what, damage] of Object.entries(KEYS)) {
  t.test(`${what} in place of the session_keys is no key, until the next login`, async (t) => {
    const world = await build(t)
    const { app, sandbox } = world
    const user = await logIn(app, sandbox)
    await damage(world, user)
    const data = () => {
      const { encryptedData, iv } = sandbox.phoneButton({
        appid: APPID,
        openid: user.openid,
        phoneNumber: '13000000000'
      })
      return { encryptedData, iv }
    }
    const refused = await post(app, '/api/phone', data(), user.headers)
    t.match(refused.json().code, /^(SESSION_KEY_EXPIRED|DECRYPT_FAILED)$/)
    const url = `${sessionsUrl(user.openid).replace(/sessions$/, 'session-key')}/sign`
    const signed = await askInternal(app, { method: 'POST', url, payload: { data: 'x' } })
    t.match(signed.json(), { statusCode: 409, code: 'SESSION_KEY_EXPIRED' })

    const again = await logIn(app, sandbox, user.openid)
    t.equal((await post(app, '/api/phone', data(), again.headers)).statusCode, 200)
    t.equal((await askInternal(app, { method: 'POST', url, payload: { data: 'x' } })).statusCode, 200)
    await logIn(app, sandbox, user.openid)
    await logIn(app, sandbox, user.openid)
    t.ok((await app.redis.ttl(blobOf(world, user))) <= 7200, 'and nothing damaged keeps it longer')
  })
}

t.test('a damaged result of a login code is asked for anew', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  const damages = ['', 'x', 'x y z', `${'x'.repeat(22)} `, ' oUser', 'x\u0000y oUser']
  for (const damage of damages) {
    const { code } = sandbox.login({ appid: APPID })
    await app.redis.set(codeKey(app, code), damage)
    t.equal((await login(app, code)).statusCode, 200, JSON.stringify(damage))
  }
  const { code } = sandbox.login({ appid: APPID })
  await app.redis.rpush(codeKey(app, code), 'x')
  t.equal((await login(app, code)).statusCode, 200, 'a list')
  t.equal(callsOf(sandbox, 'code2session').length, damages.length + 1)
})

t.test('a damaged access token is fetched anew', async (t) => {
  const world = await build(t)
  const { app } = world
  const url = `/internal/apps/${APPID}/access-token`
  const { accessToken } = (await askInternal(app, { url })).json()
  const place = app.keys.accessToken(APPID)
  const sealed = (await app.redis.getBuffer(place)) ?? Buffer.alloc(0)
  const seal = (text: string) => app.sealer.seal(Buffer.from(text), place)
  const damages = [
    Buffer.alloc(0),
    Buffer.from('x'),
    sealed.subarray(0, -1),
    randomBytes(200),
    seal(''),
    seal('x y'),
    seal('NaN ')
  ]
  for (const damage of damages) {
    await app.redis.set(place, damage)
    t.match((await askInternal(app, { url })).json(), { accessToken: String(accessToken), expiresAt: /^20/ })
  }
  await app.redis.del(place)
  await app.redis.rpush(place, 'x')
  t.equal((await askInternal(app, { url })).json().accessToken, accessToken, 'a list')
})

t.test('a damaged count of phone codes is counted anew', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  const user = await logIn(app, sandbox)
  const window = app.keys.window(`phone-codes:${APPID}:${user.openid}`)
  const phone = () => sandbox.phoneButton({ appid: APPID, openid: user.openid, phoneNumber: '13000000000' }).code
  for (const damage of [
    () => app.redis.set(window, 'x'),
    () => app.redis.set(window, ''),
    () => app.redis.set(window, '9223372036854775807'),
    () => app.redis.set(window, '9223372036854775808'),
    () => app.redis.rpush(window, 'x')
  ]) {
    await app.redis.del(window)
    await damage()
    t.equal((await post(app, '/api/phone', { code: phone() }, user.headers)).statusCode, 200)
    t.equal(await app.redis.get(window), '1')
    t.ok((await app.redis.pttl(window)) > 0)
  }
})

t.test('a damaged count of failed tries is counted anew', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  const user = await logIn(app, sandbox)
  const place = app.keys.failedTries(APPID, user.openid)
  const unreadable = { encryptedData: randomBytes(64).toString('base64'), iv: randomBytes(16).toString('base64') }
  for (const damage of [
    () => app.redis.set(place, 'x'),
    () => app.redis.set(place, '-9223372036854775808'),
    () => app.redis.set(place, '9223372036854775807'),
    () => app.redis.set(place, '9223372036854775808'),
    () => app.redis.rpush(place, 'x')
  ]) {
    await app.redis.del(place)
    await damage()
    const answer = await post(app, '/api/phone', unreadable, user.headers)
    t.equal(answer.json().code, 'DECRYPT_FAILED')
  }
  t.equal(await app.redis.get(place), '1')
})

t.test('a damaged count of a user is not shown, and hinders nobody from showing the rest', async (t) => {
  const world = await build(t)
  const { app, sandbox } = world
  const { openid } = await logIn(app, sandbox)
  const url = `/internal/apps/${APPID}/users/${openid}`
  const places = [app.keys.window(`phone-codes:${APPID}:${openid}`), app.keys.failedTries(APPID, openid)]
  for (const place of places) {
    for (const text of ['', 'x', '0', '-1', '1.5', '1e400', 'Infinity', '9007199254740993']) {
      await app.redis.set(place, text, 'PX', 60_000)
      t.match((await askInternal(app, { url })).json(), { openid, sessions: [{}], counts: [] }, text)
    }
    await app.redis.set(place, '1', 'PX', Number.MAX_SAFE_INTEGER - 2 * Date.now())
    t.match((await askInternal(app, { url })).json(), { openid, counts: [] }, 'one without an end')
    await app.redis.del(place)
    await app.redis.rpush(place, 'x')
    await app.redis.pexpire(place, 60_000)
    t.match((await askInternal(app, { url })).json(), { openid, counts: [] }, 'a list')
    await app.redis.del(place)
  }
})
