/**
 * /internal/apps/{appid}/wechat/*: the same bytes both ways, a token added, and only what is ours to say said by us.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { freePort } from '../../../tools/free-port.ts'
import { startRedis } from '../../../tools/redis.ts'
import { API_KEY, APPID, build, OTHER_APPID } from '../../helper.ts'
import { type Echo, hastyClock, passing, startEcho } from './passing.ts'

const MEBIBYTE = 1024 * 1024
const TOKEN = 'access_token=tok%2B%2F%3D1'
const STALE = '{"errcode":42001,"errmsg":"access_token expired rid: 623ea70a-74b9b592-3e3d489a"}'

async function echoing(t: Test, env: Record<string, string> = {}) {
  const echo = await startEcho(t)
  const world = await build(t, { env: { WECHAT_API_ORIGIN: echo.origin, ...env }, now: hastyClock() })
  return { ...world, echo, pass: await passing(world.app) }
}

const urlsOf = ({ reached }: Echo) => reached.map(({ url }) => url)

t.test('a body reaches WeChat byte for byte, with its type and its length', async (t) => {
  const { echo, pass } = await echoing(t)
  const bodies: [body: Buffer, type: string | undefined][] = [
    [randomBytes(70_000), 'image/jpeg'],
    [Buffer.from('{ "msgid" :23456789012345678901, "a":"微信\\u4fe1" ,\n"a":-0 }\n'), 'application/json'],
    [Buffer.from('{"not": json'), 'application/json; charset=utf-8'],
    [
      Buffer.from('--x\r\ncontent-disposition: form-data; name="media"\r\n\r\n\0\r\n--x--'),
      'multipart/form-data; boundary=x'
    ],
    [Buffer.from('a=b'), 'application/x-www-form-urlencoded'],
    [Buffer.from('odd'), 'nonsense'],
    [Buffer.from('unlabelled'), undefined],
    [Buffer.alloc(0), undefined]
  ]
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    for (const [body, type] of bodies) {
      const headers = { 'content-length': body.length, ...(type && { 'content-type': type }) }
      const { status } = await pass('/cgi-bin/x', { method, body, headers })
      t.equal(status, 200)
    }
  }
  t.equal(echo.reached.length, 4 * bodies.length)
  for (const [index, { method, url, headers, body }] of echo.reached.entries()) {
    const [sent = Buffer.from('?'), type] = bodies[index % bodies.length] ?? []
    const expected = sent.length === 0 && method === 'DELETE' ? undefined : String(sent.length)
    t.ok(body.equals(sent))
    t.same([url, headers['content-type']], [`/cgi-bin/x?${TOKEN}`, type])
    t.same([headers['content-length'], headers['transfer-encoding']], [expected, undefined])
  }
})

t.test('a body without a length is given one', async (t) => {
  const { echo, pass } = await echoing(t)
  await pass('/cgi-bin/x', { method: 'POST', body: 'chunked', headers: { 'transfer-encoding': 'chunked' } })
  t.match(echo.reached, [{ method: 'POST', headers: { 'content-length': '7', 'transfer-encoding': undefined } }])
  t.equal(echo.reached[0]?.body.toString(), 'chunked')
})

t.test('only the type of a body goes with it; no key, no cookie, no address', async (t) => {
  const { echo, pass } = await echoing(t)
  const headers = {
    cookie: 'a=b',
    'content-type': 'text/x',
    'x-forwarded-for': '203.0.113.1',
    'user-agent': 'mine',
    'proxy-authorization': 'Basic eDp5',
    'wechatmp-appid': APPID,
    te: 'trailers'
  }
  const typed = ['connection', 'content-length', 'content-type', 'host']
  await pass('/a', { method: 'POST', body: 'x', headers })
  t.same(Object.keys(echo.reached[0]?.headers ?? {}).sort(), ['accept-encoding', ...typed])
  await pass('/a')
  t.same(Object.keys(echo.reached[1]?.headers ?? {}).sort(), ['accept-encoding', 'connection', 'host'])
  t.same([echo.reached[1]?.method, echo.reached[1]?.body.length], ['GET', 0])
})

t.test('path and query keep their spelling; the token is added last, and never stands there twice', async (t) => {
  const { echo, pass } = await echoing(t)
  const rows: [asked: string, reached: string][] = [
    ['/wxa/x', `/wxa/x?${TOKEN}`],
    ['/wxa/x?', `/wxa/x?${TOKEN}`],
    ['/wxa/x/', `/wxa/x/?${TOKEN}`],
    ['/wxa//x', `/wxa//x?${TOKEN}`],
    ['/x?b=2&a=1&b=+%20%2b&&c', `/x?b=2&a=1&b=+%20%2b&&c&${TOKEN}`],
    ["/x?a=%7E~!'()*;[]@:/?", `/x?a=%7E~!'()*;[]@:/?&${TOKEN}`],
    ['/x%2fy%3F%2e.js?a=%zz', `/x%2fy%3F%2e.js?a=%zz&${TOKEN}`],
    ['/x?access_token=theirs&a=1', `/x?a=1&${TOKEN}`],
    ['/x?a=1&access_token=&access_token=b', `/x?a=1&${TOKEN}`],
    ['/x?a=1&%61ccess%5Ftoken=theirs&xaccess_token=1', `/x?a=1&xaccess_token=1&${TOKEN}`],
    ['/x?q=access_token=1', `/x?q=access_token=1&${TOKEN}`],
    ['/x?a=1#access_token', `/x?a=1&${TOKEN}`],
    ['/cgi-bin/token?grant_type=client_credential', `/cgi-bin/token?grant_type=client_credential&${TOKEN}`],
    ['/sns/userinfo?js_code=1', `/sns/userinfo?js_code=1&${TOKEN}`]
  ]
  for (const [asked] of rows) t.equal((await pass(asked)).status, 200, asked)
  t.same(
    urlsOf(echo),
    rows.map(([, reached]) => reached)
  )
  t.equal(rows.length, 14)
})

t.test('any query that has no access_token of its own is passed on as it came', async (t) => {
  const { echo, pass } = await echoing(t)
  const alphabet = fc.constantFrom(...'abz09-._~!$&\'()*+,;=:@/?%[]|^`{}"<>\\')
  const query = fc.string({ unit: alphabet, maxLength: 40 }).filter((text) => text !== '' && !text.includes('access'))
  const property = fc.asyncProperty(query, async (text) => {
    const { status } = await pass(`/x?${text}`)
    return status === 200 && echo.reached.at(-1)?.url === `/x?${text}&${TOKEN}`
  })
  await t.resolves(fc.assert(property, { numRuns: 60 }))
})

t.test('no path leaves its place', async (t) => {
  const { echo, pass, app } = await echoing(t)
  const wrong = [
    '/../token',
    '/cgi-bin/../../x',
    '/..',
    '/.',
    '/a/.',
    '/./a',
    '/%2e%2e/x',
    '/a/%2E./x',
    '/a%2f..%2fx',
    '//evil.example/x',
    '/%2fevil.example/x',
    '/a%5c..%5cx',
    '/a\\x',
    '/a%0d%0aHost:%20evil.example',
    '/a%00'
  ]
  for (const path of wrong) {
    const answer = await pass(path)
    t.match(answer.json(), { statusCode: 400, code: 'FST_ERR_VALIDATION', requestId: /./ }, path)
  }
  for (const path of ['', '/']) t.match((await pass(path)).json(), { statusCode: 400 }, path)
  t.match((await pass('/%zz')).json(), { statusCode: 400 })
  t.same(echo.reached, [])
  t.equal(wrong.length, 15)

  const { port } = app.server.address() as AddressInfo
  const absolute = httpRequest({
    port,
    path: `http://evil.example/internal/apps/${APPID}/wechat/x?a=http://evil.example/`,
    headers: { authorization: `Bearer ${API_KEY}` }
  }).end()
  const [answer] = await once(absolute, 'response')
  t.equal(answer.statusCode, 200)
  await buffer(answer)
  t.same(urlsOf(echo), [`/x?a=http://evil.example/&${TOKEN}`])
  await pass('/http://evil.example/x')
  t.equal(urlsOf(echo).at(-1), `/http://evil.example/x?${TOKEN}`)
})

t.test('an answer comes back byte for byte, with its status and what tells about its bytes', async (t) => {
  const { echo, pass } = await echoing(t)
  const image = randomBytes(200_000)
  const kept = {
    'content-type': 'image/jpeg',
    'content-disposition': 'attachment; filename="å.jpg"',
    'last-modified': 'Tue, 01 Jan 2030 00:00:00 GMT',
    'num-used': '17'
  }
  const dropped = {
    'set-cookie': ['a=b', 'c=d'],
    'keep-alive': 'timeout=99',
    'cache-control': 'public, max-age=60',
    'x-request-id': 'theirs',
    'access-control-allow-origin': '*'
  }
  echo.answer({ headers: { ...kept, ...dropped }, body: image })
  const { status, headers, body } = await pass('/wxa/getwxacodeunlimit', { method: 'POST', body: '{}' })
  t.equal(status, 200)
  t.ok(body.equals(image))
  t.match(headers, { ...kept, 'content-length': '200000', 'cache-control': 'no-store' })
  for (const name of ['set-cookie', 'access-control-allow-origin', 'transfer-encoding'])
    t.equal(headers[name], undefined, name)
  t.not(headers['x-request-id'], 'theirs')

  const texts = [
    '{ "errcode" : 40003 ,"msgid":23456789012345678901}',
    '',
    'null',
    '[]',
    '{"errcode":"x"}',
    '<html>',
    '{'
  ]
  for (const text of texts) {
    for (const code of [200, 201, 301, 404, 412, 429, 500, 502, 599]) {
      echo.answer({ status: code, headers: { 'content-type': 'text/plain' }, body: text })
      const got = await pass('/x')
      t.same(
        [got.status, got.body.toString(), got.headers['content-type'], got.headers['content-length']],
        [code, text, 'text/plain', String(text.length)]
      )
    }
  }
  echo.answer({ status: 204 })
  t.match(await pass('/x', { method: 'DELETE' }), { status: 204, body: { length: 0 } })
  echo.answer({ headers: { 'transfer-encoding': 'chunked' }, body: 'chunked' })
  t.match((await pass('/x')).headers, { 'content-length': '7', 'transfer-encoding': undefined })
  echo.answer({ status: 999 })
  t.match((await pass('/x')).json(), { statusCode: 502, code: 'WECHAT_BAD_RESPONSE' })
})

t.test('10 MiB pass in both directions, and not a byte more', async (t) => {
  const { echo, pass, app } = await echoing(t)
  const whole = randomBytes(10 * MEBIBYTE)
  const more = Buffer.alloc(10 * MEBIBYTE + 1)
  echo.answer({ body: whole })
  const { status, body } = await pass('/cgi-bin/media/upload?type=image', { method: 'POST', body: whole })
  t.equal(status, 200)
  t.ok(body.equals(whole))
  t.ok(echo.reached[0]?.body.equals(whole))
  echo.answer({ body: more })
  t.match((await pass('/x')).json(), { statusCode: 502, code: 'WECHAT_BAD_RESPONSE' })

  const reached = echo.reached.length
  const url = `/internal/apps/${APPID}/wechat/x`
  const headers = { authorization: `Bearer ${API_KEY}` }
  const refused = await app.inject({ method: 'POST', url, headers, payload: more })
  t.match(refused.json(), { statusCode: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE', requestId: /./ })
  t.equal(echo.reached.length, reached)
})

t.test('a token that WeChat calls stale is renewed, and the call repeated once', async (t) => {
  const { echo, pass } = await echoing(t)
  let tokens = 1
  for (const errcode of [40001, 40014, 42001]) {
    const stale = `{"errcode":${errcode},"errmsg":"x"}`
    echo.answer({ body: stale }, { body: 'fine' })
    const body = Buffer.from(`{"id": 23456789012345678901, "n":${errcode}}`)
    const got = await pass('/x?a=1', { method: 'POST', body, headers: { 'content-type': 'text/odd' } })
    t.equal(got.body.toString(), 'fine')
    const [first, second, ...rest] = echo.reached.splice(0)
    t.same(rest, [])
    t.same(
      [first?.url, second?.url],
      [tokens, tokens + 1].map((n) => `/x?a=1&access_token=tok%2B%2F%3D${n}`)
    )
    for (const call of [first, second]) t.match(call, { body, method: 'POST', headers: { 'content-type': 'text/odd' } })
    tokens += 1
  }
  t.equal(echo.tokens(), 4)

  echo.answer({ body: STALE })
  const got = await pass('/x')
  t.same([got.status, got.body.toString()], [200, STALE], 'what comes then is passed on')
  t.equal(echo.reached.splice(0).length, 2, 'not twice')

  echo.answer({ body: STALE, status: 401 }, { body: 'fine', status: 202 })
  t.equal((await pass('/x')).status, 202, 'whatever the status')
  echo.reached.splice(0)

  const others = [
    `${STALE.slice(0, -1)},"more":"${'x'.repeat(70_000)}"}`,
    `[${STALE}]`,
    `{"result":${STALE}}`,
    STALE.slice(0, -1),
    '{"errcode":-1}',
    '{"errcode":41001}',
    '{"errcode":0}'
  ]
  for (const body of others) {
    echo.answer({ body })
    t.equal((await pass('/x')).body.toString(), body)
    t.equal(echo.reached.splice(0).length, 1, body.slice(0, 60))
  }
  t.equal(others.length, 7)
})

t.test('every caller of every instance goes on with the renewed token', async (t) => {
  const { sandbox, app, another } = await build(t)
  const [pass, passElsewhere] = [await passing(app), await passing(await another())]
  await pass('/cgi-bin/getcallbackip')
  sandbox.expireToken({ appid: APPID })
  sandbox.clearCalls()
  const all = await Promise.all([pass, passElsewhere, pass].map((some) => some('/cgi-bin/getcallbackip')))
  for (const got of all) t.match(got.json(), { ip_list: ['192.0.2.10', '198.51.100.0/24'] })
  t.equal(sandbox.calls().filter(({ api }) => api === 'stable_token').length, 1)
})

t.test('an upload reaches the sandbox as it was sent, and a picture comes back', async (t) => {
  const { sandbox, app } = await build(t)
  const pass = await passing(app)
  const file = randomBytes(300_000)
  const head = '--b\r\nContent-Disposition: form-data; name="media"; filename="a.png"\r\n\r\n'
  const body = Buffer.concat([Buffer.from(head), file, Buffer.from('\r\n--b--\r\n')])
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  const uploaded = await pass('/cgi-bin/media/upload?type=image', { method: 'POST', body, headers })
  t.match(uploaded.json(), { type: 'image', media_id: /./ })
  const code = await pass('/wxa/getwxacodeunlimit', { method: 'POST', body: '{"scene":"a=1","is_hyaline":true}' })
  t.equal(code.headers['content-type'], 'image/png')
  t.equal(code.body.subarray(1, 4).toString(), 'PNG')
  t.match(
    sandbox.calls().filter(({ api }) => api === 'media_upload'),
    [{ appid: APPID, received: { query: 'type=image', contentLength: body.length, bodyBytes: body.length } }]
  )
})

t.test('what is ours to refuse has our form', async (t) => {
  const { pass, echo, app } = await echoing(t, { WECHAT_TIMEOUT_MS: '1000' })
  for (const appid of [OTHER_APPID, 'wx0', '%20']) {
    const unknown = await pass('/x', { appid })
    t.match(unknown.json(), { statusCode: 400, code: 'APP_UNKNOWN', requestId: /./ })
  }
  const url = `/internal/apps/${APPID}/wechat/x`
  t.match((await app.inject({ url })).json(), { statusCode: 401, code: 'TOKEN_MISSING' })
  t.match((await app.inject({ url, headers: { authorization: 'Bearer x' } })).json(), { code: 'TOKEN_INVALID' })
  const compressed = { method: 'POST', body: 'x', headers: { 'content-encoding': 'gzip' } }
  t.match((await pass('/x', compressed)).json(), {
    statusCode: 415,
    code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE',
    message: /compressed; send it as it is/
  })
  for (const method of ['HEAD', 'OPTIONS', 'TRACE']) t.equal((await pass('/x', { method })).status, 404, method)
  t.same(echo.reached, [])
})

t.test('what WeChat would answer with a session_key is not called, however it is spelt', async (t) => {
  const { pass, echo } = await echoing(t)
  const paths = ['/wxa/resetusersessionkey?openid=o', '/wxa//ResetUserSessionKey/', '/wxa/reset%75sersessionkey;x']
  for (const path of paths)
    t.match((await pass(path)).json(), { statusCode: 404, code: 'NOT_FOUND', message: /session-key\/reset/ }, path)
  const login = await pass('/sns/jscode2session?js_code=x')
  t.match(login.json(), { statusCode: 404, code: 'NOT_FOUND', message: /POST \/api\/login/ })
  t.match((await pass('/%ff')).json(), { statusCode: 400 })
  t.same(echo.reached, [])
})

t.test('WeChat late, gone, or without a token for us: our words, and nothing is sent twice', async (t) => {
  const { sandbox, app, another } = await build(t, { env: { WECHAT_TIMEOUT_MS: '1000' } })
  const pass = await passing(app)
  await pass('/cgi-bin/getcallbackip')
  sandbox.clearCalls()
  for (const [fault, status, code] of [
    [{ delayMs: 60_000 }, 504, 'WECHAT_TIMEOUT'],
    [{ reset: true }, 502, 'WECHAT_UNREACHABLE']
  ] as const) {
    sandbox.fault({ api: 'getcallbackip', ...fault })
    const got = await pass('/cgi-bin/getcallbackip')
    t.same([got.status, got.json().code, got.headers['cache-control']], [status, code, 'no-store'])
    t.equal(sandbox.calls().length, 1)
    sandbox.clearCalls()
  }
  sandbox.fault({ api: 'getcallbackip', httpStatus: 503 })
  t.match(await pass('/cgi-bin/getcallbackip'), { status: 503, body: { length: 0 } })
  sandbox.fault({ api: 'getcallbackip', errcode: -1 })
  t.match((await pass('/cgi-bin/getcallbackip')).json(), { errcode: -1 })
  t.equal(sandbox.calls().length, 2, 'busy is not asked again')

  sandbox.expireToken({ appid: APPID })
  sandbox.fault({ api: 'stable_token', errcode: 40125 })
  t.match((await pass('/cgi-bin/getcallbackip')).json(), {
    statusCode: 500,
    code: 'WECHAT_CONFIG_INVALID',
    wechat: { errcode: 40125 }
  })
  const gone = await passing(await another({ WECHAT_API_ORIGIN: `http://127.0.0.1:${await freePort()}` }))
  t.match((await gone('/x')).json(), { statusCode: 502, code: 'WECHAT_UNREACHABLE' })
})

t.test('Redis away is said as everywhere', async (t) => {
  const redis = await startRedis()
  const { app } = await build(t, { redis })
  const pass = await passing(app)
  await redis.stop()
  const got = await pass('/cgi-bin/getcallbackip')
  t.match(got.json(), { statusCode: 503, code: 'REDIS_UNAVAILABLE' })
  t.ok(got.headers['retry-after'])
})

t.test('a caller that leaves in the middle of its body costs WeChat nothing', async (t) => {
  const { echo, pass, app } = await echoing(t)
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  const head = [`POST /internal/apps/${APPID}/wechat/x HTTP/1.1`, 'host: x', `authorization: Bearer ${API_KEY}`]
  socket.write(`${[...head, 'content-length: 100'].join('\r\n')}\r\n\r\nhalf`)
  await once(app.server, 'request')
  socket.destroy()
  await once(socket, 'close')
  t.equal((await pass('/y')).status, 200)
  t.same(urlsOf(echo), [`/y?${TOKEN}`])
})

t.test('nothing secret of a passed call is logged', async (t) => {
  const { echo, pass, logs } = await echoing(t)
  const body = 'secret body'
  echo.answer({ body: STALE }, { body: 'secret answer' })
  await pass('/wxa/x?openid=secret-openid&access_token=secret-token', { method: 'POST', body })
  echo.answer({ status: 500, body: 'secret answer' })
  await pass('/wxa/x?openid=secret-openid', { method: 'PUT', body })
  await pass('/../secret-path')
  const lines = logs()
  t.match(lines, /\/internal\/apps\/:appid\/wechat\/\*/)
  t.match(lines, new RegExp(`"appid":"${APPID}"`))
  for (const secret of [/secret/, /tok(\+|%2B)/, new RegExp(API_KEY)]) t.notMatch(lines, secret)
})
