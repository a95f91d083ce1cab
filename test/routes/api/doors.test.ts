/** What all /api routes share: headers, refused bodies, and answers while Redis is down. */
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { type PrivateRedis, startRedis } from '../../../tools/redis.ts'
import { APPID, build, logIn, type World } from '../../helper.ts'
import { closeTogether, listenRaw } from '../../listen.ts'
import { type Answer, codeKey, get, login, post, refused, startHeldWechat, until } from './client.ts'

const POSTS = ['/api/login', '/api/logout', '/api/phone', '/api/userdata'] as const

t.test('test() answers anybody', async (t) => {
  const { app } = await build(t)
  const answer = await get(app, '/api/test')
  t.equal(answer.body, '{"ok":1}')
  t.equal(answer.statusCode, 200)
  const { headers } = answer
  t.match(headers, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
  const head = await app.inject({ method: 'HEAD', url: '/api/test' })
  t.same([head.statusCode, head.body, head.headers['content-length']], [200, '', '8'])
  refused(t, await post(app, '/api/test', {}), 404, 'NOT_FOUND')
  refused(t, await get(app, '/api/nothing'), 404, 'NOT_FOUND')
})

t.test('every answer carries a request id: the given one where it is valid', async (t) => {
  const { app } = await build(t)
  const idOf = async (given?: string) => {
    const answer = await get(app, '/api/session', given === undefined ? {} : { 'x-request-id': given })
    t.equal(answer.json().requestId, answer.headers['x-request-id'])
    return String(answer.headers['x-request-id'])
  }
  for (const valid of ['a', 'trace-1:2.3_4', 'x'.repeat(128)]) t.equal(await idOf(valid), valid)
  const made = [await idOf(), await idOf(''), await idOf('a b'), await idOf('x'.repeat(129)), await idOf('<script>')]
  for (const id of made) t.match(id, /^[\w-]{8}-\w+$/)
  t.equal(new Set(made).size, made.length)
})

t.test('headers that come twice count once', async (t) => {
  const { app, sandbox } = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const { token } = await logIn(app, sandbox)
  const send = async (headers: string[]) => {
    const sent = httpRequest({ port, path: '/api/session', headers: ['Host', 'x', ...headers] }).end()
    const [answer] = await once(sent, 'response')
    return { status: answer.statusCode, id: answer.headers['x-request-id'], body: JSON.parse(await text(answer)) }
  }
  const good = ['Authorization', `Bearer ${token}`]
  t.equal((await send([...good, 'Authorization', 'Bearer x'])).status, 200)
  t.match(await send(['Authorization', 'Bearer x', ...good]), { status: 401, body: { code: 'TOKEN_INVALID' } })
  t.notMatch((await send([...good, 'X-Request-Id', 'a', 'X-Request-Id', 'b'])).id, /^a/)
})

t.test('bodies that are none are refused at every door', async (t) => {
  const { app, sandbox } = await build(t)
  const { headers } = await logIn(app, sandbox)
  const refusals: [status: number, code: string, type: string, payload: string][] = [
    [400, 'FST_ERR_CTP_INVALID_JSON_BODY', 'application/json', '{"code":'],
    [400, 'FST_ERR_VALIDATION', 'application/json', '{"nonsense":1}'],
    [400, 'FST_ERR_VALIDATION', 'application/json', '[]'],
    [400, 'FST_ERR_VALIDATION', 'application/json', '"x"'],
    [413, 'FST_ERR_CTP_BODY_TOO_LARGE', 'application/json', JSON.stringify({ code: 'x'.repeat(65_536) })],
    [415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', 'application/x-www-form-urlencoded', 'code=x'],
    [415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', 'text/xml', '<code/>']
  ]
  for (const url of POSTS) {
    for (const [status, code, type, payload] of refusals) {
      const answer = await app.inject({ method: 'POST', url, headers: { ...headers, 'content-type': type }, payload })
      refused(t, answer, status, code)
      t.equal(answer.headers['cache-control'], 'no-store')
    }
    const polluted = '{"__proto__":{"everywhere":true}}'
    const asJson = { ...headers, 'content-type': 'application/json' }
    const answer = await app.inject({ method: 'POST', url, headers: asJson, payload: polluted })
    refused(t, answer, 400, 'FST_ERR', { code: /^FST_ERR/ })
  }
})

t.test('bodies of another kind, and JSON that is no object, are told what is wanted', async (t) => {
  const { app, sandbox } = await build(t, { env: { RATE_LIMIT: '0' } })
  const { headers } = await logIn(app, sandbox)
  const wanted: Record<string, string> = {
    '/api/login': 'body must be object with code',
    '/api/token/refresh': 'body must be object with refreshToken',
    '/api/logout': 'body must be object; it may have everywhere',
    '/api/phone': 'body must be object with code, or with encryptedData and iv',
    '/api/userdata': 'body must be object with encryptedData and iv, or with rawData and signature'
  }
  const needsNothing = new Set(['/api/logout'])
  const labels = [
    'application/x-www-form-urlencoded',
    'text/plain',
    'text/xml',
    'multipart/form-data; boundary=x',
    'json'
  ]
  for (const [url, message] of Object.entries(wanted)) {
    const send = (type: string | undefined, payload: string) =>
      app.inject({ method: 'POST', url, headers: { ...headers, ...(type && { 'content-type': type }) }, payload })
    for (const payload of [
      '[]',
      '[{"code":"x"}]',
      '1',
      '0',
      'true',
      '"x"',
      '""',
      ...(needsNothing.has(url) ? [] : ['null'])
    ]) {
      const answer = await send('application/json', payload)
      t.match(answer.json(), { statusCode: 400, code: 'FST_ERR_VALIDATION', message }, `${url} ${payload}`)
    }
    for (const type of [...labels, undefined]) {
      const answer = await send(type, 'code=x')
      refused(t, answer, 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
      t.match(answer.json().message, 'send JSON, with the header content-type: application/json', `${url} ${type}`)
    }
  }
})

/** One call of every /api route that needs Redis, all at the same time. */
async function callAll({ app, sandbox }: World, openid: string, headers: { authorization: string }) {
  const { code } = sandbox.login({ appid: APPID, openid, keepSessionKey: true })
  const { code: phoneCode, ...data } = sandbox.phoneButton({ appid: APPID, openid })
  const { rawData, signature } = sandbox.openData({ appid: APPID, openid, data: { nickName: 'n' } })
  const calls: Record<string, Promise<Answer>> = {
    session: get(app, '/api/session', headers),
    verify: get(app, '/api/verify', headers),
    phone: post(app, '/api/phone', { code: phoneCode }, headers),
    phoneData: post(app, '/api/phone', data, headers),
    userdata: post(app, '/api/userdata', { rawData, signature }, headers),
    login: login(app, code)
  }
  const names = Object.keys(calls)
  const answers = await Promise.all(Object.values(calls))
  return answers.map((answer, index) => [names[index] ?? '', answer] as const)
}

async function unavailable(t: Parameters<typeof refused>[0], world: World, user: Awaited<ReturnType<typeof logIn>>) {
  const startedAt = performance.now()
  const [answers, ready, loggedOut] = await Promise.all([
    callAll(world, user.openid, user.headers),
    notReady(world),
    post(world.app, '/api/logout', {}, user.headers)
  ])
  t.ok(performance.now() - startedAt < 2000, 'within 2 s')
  for (const [name, answer] of [...answers, ['readyz', ready] as const, ['logout', loggedOut] as const]) {
    t.equal(answer.statusCode, 503, name)
    refused(t, answer, 503, 'REDIS_UNAVAILABLE')
  }
  t.equal((await get(world.app, '/healthz')).statusCode, 200)
  t.equal((await get(world.app, '/api/test')).statusCode, 200)
}

/** The first answer of /readyz that is no 200: it may tell what was found a tenth of a second ago. */
async function notReady({ app }: World): Promise<Answer> {
  for (; ; await setImmediate()) {
    const answer = await get(app, '/readyz')
    if (answer.statusCode !== 200) return answer
  }
}

const isReady = async ({ app }: World) => (await get(app, '/readyz')).statusCode === 200

async function privateRedis(t: Parameters<typeof refused>[0]): Promise<PrivateRedis> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return redis
}

t.test('a Redis that does not answer is named within 2 s at every door, and found again', async (t) => {
  const redis = await privateRedis(t)
  const world = await build(t, { redis })
  const user = await logIn(world.app, world.sandbox)
  redis.pause()
  await unavailable(t, world, user)
  redis.resume()
  await until(() => isReady(world))
  for (const [name, answer] of await callAll(
    world,
    user.openid,
    (await logIn(world.app, world.sandbox, user.openid)).headers
  ))
    t.equal(answer.statusCode, 200, name)
})

t.test('calls that need Redis twice are answered within 2 s too, also behind others that wait for it', async (t) => {
  const redis = await privateRedis(t)
  const { app, sandbox } = await build(t, { redis })
  const { headers, refreshToken } = await logIn(app, sandbox)
  let busy = true
  const callers = Array.from({ length: 20 }, async () => {
    for (; busy; await setImmediate()) await get(app, '/api/session', headers)
  })
  redis.pause()
  for (let round = 0; round < 3; round++) {
    const { code } = sandbox.login({ appid: APPID })
    const startedAt = performance.now()
    const answers = [login(app, code), post(app, '/api/token/refresh', { refreshToken })]
    for (const answer of await Promise.all(answers)) refused(t, answer, 503, 'REDIS_UNAVAILABLE')
    t.ok(performance.now() - startedAt < 2000, 'within 2 s')
  }
  busy = false
  await Promise.all(callers)
})

t.test('a Redis whose host went away without a word is found again by its name', async (t) => {
  const redis = await startRedis({ tcp: true })
  t.teardown(() => redis.stop())
  let swallow = false
  let first: Socket | undefined
  const { port } = await listenRaw(t, (socket) => {
    first ??= socket
    const onward = connect({ port: Number(new URL(redis.url).port), host: '127.0.0.1' })
    const isOld = () => swallow && socket === first
    socket.on('data', (chunk) => isOld() || onward.write(chunk))
    onward.on('data', (chunk) => isOld() || socket.write(chunk))
    closeTogether(socket, onward)
  })
  const url = `redis://127.0.0.1:${port}`
  const world = await build(t, { env: { REDIS_URL: url, ROLES: 'api' } })
  const { headers } = await logIn(world.app, world.sandbox)
  swallow = true
  refused(t, await get(world.app, '/api/session', headers), 503, 'REDIS_UNAVAILABLE')
  await until(() => isReady(world))
  t.equal((await get(world.app, '/api/session', headers)).statusCode, 200)
})

t.test('a Redis that is gone is named within 2 s at every door, and found again', async (t) => {
  const redis = await privateRedis(t)
  const world = await build(t, { redis })
  const user = await logIn(world.app, world.sandbox)
  redis.kill()
  await unavailable(t, world, user)
  await redis.restart()
  await until(() => isReady(world))
  refused(t, await get(world.app, '/api/session', user.headers), 401, 'SESSION_REVOKED')
  const back = await logIn(world.app, world.sandbox, user.openid)
  for (const [name, answer] of await callAll(world, user.openid, back.headers)) t.equal(answer.statusCode, 200, name)
})

t.test('a Redis that is away at the start is waited for', async (t) => {
  const redis = await privateRedis(t)
  redis.kill()
  const world = await build(t, { redis })
  const { code } = world.sandbox.login({ appid: APPID })
  refused(t, await login(world.app, code), 503, 'REDIS_UNAVAILABLE')
  refused(t, await get(world.app, '/readyz'), 503, 'REDIS_UNAVAILABLE')
  t.equal((await get(world.app, '/healthz')).statusCode, 200)
  await redis.restart()
  await until(() => isReady(world))
  t.equal((await login(world.app, code)).statusCode, 200, 'the code was not spent')
})

t.test('a Redis that goes away while WeChat works costs the login, and leaves no claim', async (t) => {
  const redis = await privateRedis(t)
  const wechat = await startHeldWechat(t)
  const { app } = await build(t, { redis, env: { WECHAT_API_ORIGIN: wechat.origin } })
  const arrived = wechat.arrived()
  const asked = login(app, 'code')
  await arrived
  t.equal(await app.redis.exists(codeKey(app, 'code')), 1)
  redis.pause()
  const releasedAt = performance.now()
  wechat.release({ openid: 'oUser', session_key: Buffer.alloc(16, 1).toString('base64') })
  refused(t, await asked, 503, 'REDIS_UNAVAILABLE')
  t.ok(performance.now() - releasedAt < 2000)
  redis.resume()
  await until(async () => (await app.redis.exists(codeKey(app, 'code')).catch(() => 1)) === 0)
})
