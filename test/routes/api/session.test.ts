/** Tokens and sessions: what a token says, which are refused, when sessions end, and how they lie in Redis. */
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, jwtVerify } from 'jose'
import t from 'tap'
import { APPID, build, logIn, OTHER_APPID, type World } from '../../helper.ts'
import { bearer, claims, get, keysOf, post, refused, sessionKeyOf } from './client.ts'

const SECRET = 'a secret of the tests, long enough for HS256'
const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

const signed = (text: string, key: string): string =>
  `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`

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

t.test('tokens are JWTs that any library verifies, each with its salt', async (t) => {
  const { app, sandbox } = await build(t, { env: { JWT_SECRET: SECRET } })
  const { token, openid } = await logIn(app, sandbox)
  const expected = { issuer: 'https://wx.example.test', audience: APPID, subject: openid, algorithms: ['HS256'] }
  const { payload, protectedHeader } = await jwtVerify(token, Buffer.from(SECRET), expected)
  t.same(Object.keys(payload).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub', 'unionid'])
  t.equal(Number(payload.exp) - Number(payload.iat), 900)
  t.match(payload, { jti: /^[\w-]{16}$/, sid: /^[\w-]{22}$/, unionid: /\w/ })
  t.match(protectedHeader, { alg: 'HS256', kid: /^[\w-]{16}$/ })
  const other = await logIn(app, sandbox, openid)
  t.not(claims(other.token).jti, payload.jti)
  t.not(claims(other.token).sid, payload.sid)
})

t.test('tokens are signed by the first of JWT_KEYS and verified by all', async (t) => {
  const pairs = [generateKeyPairSync('ec', { namedCurve: 'P-256' }), generateKeyPairSync('ed25519')] as const
  const [first, second] = pairs.map(({ privateKey }) => privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  const keys = (...pems: unknown[]) => ({ JWT_SECRET: undefined, JWT_KEYS: pems.join('\n') })
  const { app, another, sandbox } = await build(t, { env: keys(first, second) })
  const rotated = await another(keys(second, first))
  const alone = await another(keys(second))
  const es256 = await logIn(app, sandbox)
  const eddsa = await logIn(rotated, sandbox)
  for (const [{ token }, { publicKey }, alg] of [
    [es256, pairs[0], 'ES256'] as const,
    [eddsa, pairs[1], 'EdDSA'] as const
  ]) {
    const { protectedHeader } = await jwtVerify(token, publicKey, { algorithms: [alg] })
    t.equal(protectedHeader.kid, await calculateJwkThumbprint(await exportJWK(publicKey)))
    for (const instance of [app, rotated]) t.equal((await get(instance, '/api/verify', bearer(token))).statusCode, 200)
  }
  t.equal((await get(alone, '/api/verify', eddsa.headers)).statusCode, 200)
  refused(t, await get(alone, '/api/verify', es256.headers), 401, 'TOKEN_INVALID')

  const [head = '', body = ''] = es256.token.split('.')
  const publicPem = pairs[0].publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const { kid } = JSON.parse(Buffer.from(head, 'base64url').toString())
  for (const confused of [
    signed(`${head}.${body}`, publicPem),
    signed(`${encode({ alg: 'HS256', typ: 'JWT', kid })}.${body}`, publicPem)
  ])
    refused(t, await get(app, '/api/verify', bearer(confused)), 401, 'TOKEN_INVALID')
})

t.test('tokens that are not ours, letter by letter, are refused', async (t) => {
  const { app, another, sandbox } = await build(t, { env: { JWT_SECRET: SECRET } })
  const { token, headers } = await logIn(app, sandbox)
  const [head = '', body = '', signature = ''] = token.split('.')
  const payload = claims(token)
  const header = JSON.parse(Buffer.from(head, 'base64url').toString())
  const genuine = (change: object) => signed(`${head}.${encode({ ...payload, ...change })}`, SECRET)
  t.equal((await get(app, '/api/session', bearer(genuine({})))).statusCode, 200, 'the forger works')
  const forged = {
    'another user': `${head}.${encode({ ...payload, sub: 'oSomebodyElse' })}.${signature}`,
    'changed signature': `${head}.${body}.${signature.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'))}`,
    'empty signature': `${head}.${body}.`,
    'no signature': `${head}.${body}`,
    'one segment more': `${token}.x`,
    'one empty segment more': `${token}.`,
    'alg none': `${encode({ ...header, alg: 'none' })}.${body}.`,
    'alg none, signed': signed(`${encode({ ...header, alg: 'none' })}.${body}`, SECRET),
    'alg HS512': signed(`${encode({ ...header, alg: 'HS512' })}.${body}`, SECRET),
    'other kid': signed(`${encode({ ...header, kid: '__proto__' })}.${body}`, SECRET),
    'no kid': signed(`${encode({ alg: 'HS256', typ: 'JWT' })}.${body}`, SECRET),
    'wrong key': signed(`${head}.${body}`, `${SECRET}!`),
    'other issuer': genuine({ iss: 'https://other.example.test' }),
    'app that is not configured': genuine({ aud: OTHER_APPID }),
    'app of another kind': genuine({ aud: ['__proto__'] }),
    'no exp': genuine({ exp: undefined }),
    'no session': genuine({ sid: undefined }),
    'dots only': '..',
    __proto__: '__proto__'
  }
  for (const [name, forgery] of Object.entries(forged))
    t.match((await get(app, '/api/session', bearer(forgery))).json(), { statusCode: 401, code: 'TOKEN_INVALID' }, name)
  refused(t, await get(app, '/api/session', bearer(genuine({ sid: 'u' }))), 401, 'SESSION_REVOKED')
  refused(t, await get(app, '/api/session', bearer(genuine({ exp: 1 }))), 401, 'TOKEN_EXPIRED')
  const elsewhere = await another({ PUBLIC_URL: 'https://other.example.test' })
  refused(t, await get(elsewhere, '/api/session', headers), 401, 'TOKEN_INVALID')
})

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
  for (const place of await keysOf(world))
    if (!place.startsWith(app.keys.eventQueue)) ends.set(place, await app.redis.ttl(place))
  t.ok(ends.size >= 3, 'codes are there too')
  for (const [place, seconds] of ends) t.ok(seconds > 0 && seconds <= 2_592_000, `${place}: ${seconds}`)
  t.ok(Number(ends.get(places[1] as string)) <= 7200, 'session_keys end with SESSION_KEY_TTL')
})

t.test('session_keys lie sealed in Redis, for one place and one key', async (t) => {
  const old = `old:${Buffer.alloc(32, 1).toString('base64')}`
  const fresh = `new:${Buffer.alloc(32, 2).toString('base64')}`
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

  const rotated = await another({ ENCRYPTION_KEYS: `${fresh},${old}` })
  t.equal((await read(rotated)).statusCode, 200, 'the old key still opens')
  await logIn(rotated, sandbox, openid)
  t.match((await history(openid))?.toString('latin1'), /^.{10}new.+old/s, 'the first key seals')
  t.equal((await read(rotated)).statusCode, 200, 'both in one history')
})

t.test('the first script of an instance may come together with any command', async (t) => {
  const { app, another, sandbox } = await build(t)
  const { openid, token } = await logIn(app, sandbox)
  const id = { appid: APPID, openid, sid: String(claims(token).sid) }
  const sessionKey = Buffer.alloc(16)
  const fresh = await another()
  const [, opened] = await Promise.all([
    fresh.redis.get('anything'),
    fresh.sessions.open({ appid: APPID, openid, sessionKey }),
    fresh.sessions.close(id)
  ])
  t.match(await app.sessions.find(opened), { sid: opened.sid })
  t.equal(await app.sessions.find(id), undefined)
})

t.test('/internal answers 404 where no INTERNAL_API_KEYS are configured', async (t) => {
  const { another } = await build(t)
  const app = await another({ INTERNAL_API_KEYS: undefined })
  for (const headers of [{}, bearer('x'.repeat(32))])
    refused(t, await post(app, '/internal/pay/orders', {}, headers), 404, 'NOT_FOUND')
})
