// What each shipped front opens, what gets through it, and what it answers by itself: the real programs, in front of a
// service that tells what reached it.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { DOMAIN, type FrontAnswer, type FrontDoor } from '../acceptance/caddy.ts'
import { addressOf, type Echo, sha256, startEcho } from '../acceptance/echo.ts'
import { FRONTS, type Front } from '../acceptance/fronts.ts'
import { converse, converseHttp2, openPlain, openTls, type Step, type WireAnswer } from '../acceptance/wire.ts'
import { listen } from '../listen.ts'

for (const front of FRONTS) {
  t.test(`${front.name} opens its doors`, (t) => opensDoors(t, front))
  t.test(`${front.name} protects any backend by /api/verify`, (t) => protectsBackend(t, front))
  t.test(`${front.name} goes on without an instance`, (t) => goesOn(t, front))
  t.test(`${front.name} repeats no request that was sent, but a GET`, (t) => sendsOnce(t, front))
  t.test(`${front.name} never answers 2xx by itself`, (t) => answersNoSuccess(t, front))
}

/** An answer of the front's own, in the form of wxgate's errors. */
function isRefusal(t: Test, { status, headers, body }: WireAnswer, expected: number, name: string): void {
  t.equal(status, expected, name)
  t.equal(headers['content-type'], 'application/json; charset=utf-8', name)
  t.equal(headers['cache-control'], 'no-store', name)
  const requestId = headers['x-request-id'] ?? 'none'
  t.match(JSON.parse(body), { statusCode: status, code: /^[A-Z_]+$/, error: /./, message: /./, requestId }, name)
}

/** The same of an answer that a library has read. */
function isOwn(t: Test, { statusCode: status, headers, text }: FrontAnswer, expected: number, code: string): void {
  isRefusal(t, { status, headers: headers as Record<string, string>, body: text, closed: true }, expected, code)
  t.match(JSON.parse(text), { code })
}

async function opensDoors(t: Test, front: Front): Promise<void> {
  const echo = await startEcho(t)
  const door = await front.start(t, { upstreams: [echo.address] })

  t.test('passes the open paths on as they are, query included', async (t) => {
    const paths = [
      '/api/test',
      '/api/token/refresh?a=%2e%2e%2F&b=/../internal',
      '/wechat/push/wx0123456789abcdef?signature=a+b%2Fc&echostr=1&empty=',
      '/wechat/pay/v3/1900000001/notify',
      '/.well-known/jwks.json'
    ]
    for (const path of paths) {
      const answer = await door.request(path)
      t.match(answer, { statusCode: 200, headers: { 'x-echo': 'yes' } }, path)
      t.equal(answer.json<Echo>().url, path)
    }
  })

  t.test('passes bodies and headers on byte for byte', async (t) => {
    const body = Buffer.concat([Buffer.from('\r\n\0\xff<xml>\r\n', 'latin1'), randomBytes(5000), Buffer.from('\n')])
    const headers = {
      'content-type': 'Text/XML; charset="GBK"; odd=1',
      'wechatpay-signature': 'WECHATPAY/SIGNTEST/a+b/c==',
      'wechatpay-serial': 'PUB_KEY_ID_0112233',
      authorization: 'Bearer a.b.c',
      'x-request-id': 'given-by-client'
    }
    const answer = await door.request('/wechat/pay/v3/1900000001/notify', { method: 'POST', headers, body })
    const got = answer.json<Echo>()
    t.equal(got.sha256, sha256(body))
    t.match(got.headers, headers)
    t.equal(got.headers['content-length'], String(body.length))
    t.notOk(got.headers['accept-encoding'], 'nothing is added that would change the answer')
    t.equal(got.headers.host, DOMAIN)
  })

  t.test('answers 404 for every other path, however it is written', async (t) => {
    const before = echo.seen.length
    const paths = [
      ...['/', '/internal', '/internal/introspect', '/metrics', '/docs', '/docs/', '/docs/json', '/healthz', '/readyz'],
      ...['//internal/x', '/%69nternal/x', '/INTERNAL/x', '/%2finternal/x', '/.well-known/other', '/api', '/apix/y'],
      ...['/api/../internal/x', '/api/%2e%2e/internal/x', '/api/..%2finternal', '/api/.%2e/internal', '/api/./test'],
      ...['/internal/../api/test', '/internal/apps/wx/wechat/../../../../api/test', '/API/test', '/Wechat/push/wx1'],
      ...['/api//internal', '//api/test', '/api/..;/internal', '/api\\..\\internal', '/api/%61', '/console', '/app/x'],
      ...['/wechat/../readyz', '/?/api/test', '/x?y=/api/test', '/readyz?/api/test']
    ]
    for (const path of paths) {
      isOwn(t, await door.request(path), 404, 'NOT_FOUND')
    }
    t.equal(echo.seen.length, before, 'none of them reached the service')
  })

  t.test('gives its own answers a request id, and keeps a harmless one', async (t) => {
    const ids = new Map([
      ['abc-DEF_1.2:3', /^abc-DEF_1\.2:3$/],
      ['a"b', /^[0-9a-f-]{32,36}$/],
      ['', /^[0-9a-f-]{32,36}$/],
      ['x'.repeat(129), /^[0-9a-f-]{32,36}$/]
    ])
    for (const [given, expected] of ids) {
      const answer = await door.request('/nothing', { headers: { 'x-request-id': given } })
      const { requestId } = answer.json<{ requestId: string }>()
      t.match(requestId, expected)
      t.equal(answer.headers['x-request-id'], requestId)
      t.equal(answer.headers['cache-control'], 'no-store')
    }
  })

  t.test('tells the service the true client, whatever the client says of itself', async (t) => {
    const headers = {
      'x-forwarded-for': '203.0.113.7, 10.0.0.1',
      'x-forwarded-host': 'evil.test',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '81',
      'x-forwarded-prefix': '/internal'
    }
    const got = (await door.request('/api/test', { headers })).json<Echo>()
    t.match(got, { ip: '127.0.0.1', protocol: 'https', host: DOMAIN })
    t.match(got.headers, { 'x-forwarded-for': '127.0.0.1', 'x-forwarded-host': DOMAIN, 'x-forwarded-proto': 'https' })
    t.notOk(got.headers['x-forwarded-port'])
    t.notOk(got.headers['x-forwarded-prefix'])
  })

  t.test('refuses bodies over the limit of their door, announced or not', async (t) => {
    const doors: [string, number][] = [
      ['/wechat/push/wx1', 1 << 20],
      ['/api/userdata', 256 << 10]
    ]
    for (const [path, limit] of doors) {
      const full = await door.request(path, { method: 'POST', body: Buffer.alloc(limit) })
      t.equal(full.statusCode, 200, `${path} takes ${limit} bytes`)
      const over = await door.request(path, { method: 'POST', body: Buffer.alloc(limit + 1) })
      t.equal(over.statusCode, 413)
      t.match(over.json(), { statusCode: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE', error: 'Payload Too Large' })
      const unannounced = await converseHttp2(door, { ':path': path }, (stream) => stream.end(Buffer.alloc(limit + 1)))
      isRefusal(t, unannounced, 413, `${path}, not announced`)
    }
  })

  t.test('shows a certificate that verifies, by TLS 1.2 and 1.3', async (t) => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const limits = { minVersion: version, maxVersion: version }
      const socket = connect({ port: door.httpsPort, servername: DOMAIN, ca: door.rootPem, ...limits })
      await once(socket, 'secureConnect')
      t.ok(socket.authorized, version)
      t.equal(socket.getProtocol(), version)
      socket.destroy()
    }
    const old = connect({ port: door.httpsPort, servername: DOMAIN, ca: door.rootPem, maxVersion: 'TLSv1.1' })
    await t.rejects(once(old, 'secureConnect'), /./, 'not by TLS 1.1')
    await t.rejects(
      once(connect({ port: door.httpsPort, servername: DOMAIN }), 'secureConnect'),
      /./,
      'only by its root'
    )
  })

  t.test('redirects HTTP to HTTPS', async (t) => {
    const url = `http://127.0.0.1:${door.httpPort}/api/test?a=1`
    const answer = await request(url, { headers: { host: DOMAIN } })
    await answer.body.dump()
    t.equal(answer.statusCode, 308)
    t.match(answer.headers.location, /^https:\/\/wx\.example\.test(:\d+)?\/api\/test\?a=1$/)
  })

  t.test('answers 404 to a host that is not ours', async (t) => {
    const get = (lines: string) => [`GET /api/test HTTP/1.1\r\n${lines}Connection: close\r\n\r\n`]
    for (const lines of ['Host: other.test\r\n', 'Host: 127.0.0.1\r\n', `Host: x.${DOMAIN}\r\n`])
      isRefusal(t, await converse(await openTls(door), get(lines)), 404, lines)
    const nameless = await converse(await openTls(door), ['GET /api/test HTTP/1.0\r\n\r\n'])
    t.ok(nameless.status === 404 || nameless.headers['x-echo'], 'nor an empty 200 to none at all')
  })
}

async function goesOn(t: Test, front: Front): Promise<void> {
  const first = await startEcho(t)
  const second = await startEcho(t)
  const door = await front.start(t, { upstreams: [first.address, second.address] })
  const headers = { authorization: 'Bearer t0k3n' }
  const post = (n: number) => door.request('/api/login?secret=s3cr3t', { method: 'POST', body: `body ${n}`, headers })
  const six = () => Promise.all([1, 2, 3, 4, 5, 6].map(post))

  await six()
  t.ok(first.seen.length > 0 && second.seen.length > 0, 'both work')
  await first.app.close()
  for (let n = 1; n <= 6; n++) t.equal((await door.request('/api/session')).statusCode, 200, 'a GET never fails')
  // Caddy gives 502 to some of these until its health check knows: caddyserver/caddy#7546. Six are no luck.
  const answers = await until(six, (all) => all.every(({ statusCode }) => statusCode === 200))
  for (const [n, answer] of answers.entries()) t.equal(answer.json<Echo>().sha256, sha256(`body ${n + 1}`))

  await second.app.close()
  const started = Date.now()
  const answer = await post(7)
  t.ok(Date.now() - started < 3000, 'who cannot be served is told so in time')
  isOwn(t, answer, answer.statusCode, answer.statusCode === 503 ? 'SERVICE_UNAVAILABLE' : 'BAD_GATEWAY')
  t.notMatch(door.log(), /s3cr3t|t0k3n/, 'and nothing secret is in the log')

  await startEcho(t, { port: Number(second.address.split(':')[1]) })
  const again = await until(
    () => post(8),
    ({ statusCode }) => statusCode === 200
  )
  t.equal(again.json<Echo>().sha256, sha256('body 8'), 'an instance that is back is used again')
}

/** Calls until `enough`, at most for 10 s. */
async function until<Result>(call: () => Promise<Result>, enough: (result: Result) => boolean): Promise<Result> {
  const deadline = Date.now() + 10_000
  let result = await call()
  while (!enough(result) && Date.now() < deadline) {
    await pause(20)
    result = await call()
  }
  return result
}

async function sendsOnce(t: Test, front: Front): Promise<void> {
  const seen: string[] = []
  const breaking = createServer((request, response) => {
    if (request.url === '/readyz') return response.end('ready')
    seen.push(`${request.method}`)
    return request.resume().once('end', () => request.socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(breaking, 'listening')
  t.teardown(() => breaking.close())
  const address = addressOf(breaking)
  const door = await front.start(t, { upstreams: [address, address.replace('127.0.0.1', 'localhost')] })

  isOwn(t, await door.request('/api/login', { method: 'POST', body: '{"code":"once"}' }), 502, 'BAD_GATEWAY')
  t.same(seen, ['POST'], 'a POST is never repeated')
  // nginx leaves out for a second whoever failed, and then has nobody to repeat it to.
  async function get(): Promise<number> {
    seen.length = 0
    await door.request('/api/session')
    return seen.length
  }
  t.ok((await until(get, (count) => count > 1)) > 1, 'a GET is')
}

/** A server and a request that never becomes complete, or ends in another way than announced. */
type Broken = [
  name: string,
  talk: (door: FrontDoor, path: string, reached: () => Promise<unknown>) => Promise<WireAnswer>
]

const post = (path: string, headers: string) => `POST ${path} HTTP/1.1\r\nHost: ${DOMAIN}\r\n${headers}\r\n\r\n`
const overTls = async (door: FrontDoor, steps: Step[]) => converse(await openTls(door), steps)

const BROKEN: Broken[] = [
  ['a length, and a part', (door, path) => overTls(door, [post(path, 'Content-Length: 100'), 'abc'])],
  ['a length, and nothing', (door, path) => overTls(door, [post(path, 'Content-Length: 100')])],
  [
    '100-continue, and nothing',
    (door, path) => overTls(door, [post(path, 'Expect: 100-continue\r\nContent-Length: 9')])
  ],
  [
    'chunks that stop between',
    (door, path) => overTls(door, [post(path, 'Transfer-Encoding: chunked'), '3\r\nabc\r\n'])
  ],
  ['chunks that stop within', (door, path) => overTls(door, [post(path, 'Transfer-Encoding: chunked'), '30\r\nabc'])],
  [
    'a length, half-closed after a part',
    (door, path, reached) => overTls(door, [post(path, 'Content-Length: 100'), 'abc', reached, 'FIN'])
  ],
  ['a length, half-closed at once', (door, path) => overTls(door, [`${post(path, 'Content-Length: 100')}abc`, 'FIN'])],
  [
    'chunks, half-closed between',
    (door, path, reached) => overTls(door, [post(path, 'Transfer-Encoding: chunked'), '3\r\nabc\r\n', reached, 'FIN'])
  ],
  [
    'chunks, half-closed within',
    (door, path, reached) => overTls(door, [post(path, 'Transfer-Encoding: chunked'), '30\r\nabc', reached, 'FIN'])
  ],
  [
    'chunks that are none',
    (door, path, reached) =>
      overTls(door, [post(path, 'Transfer-Encoding: chunked'), '3\r\nabc\r\n', reached, 'zz\r\n\r\n'])
  ],
  [
    'HTTP/2, ended short of its length',
    (door, path) => converseHttp2(door, { ':path': path, 'content-length': 100 }, (stream) => stream.end('abc'))
  ],
  [
    'HTTP/2, beyond its length',
    (door, path) => converseHttp2(door, { ':path': path, 'content-length': 2 }, (stream) => stream.end('abc'))
  ],
  ['HTTP/2 that stops', (door, path) => converseHttp2(door, { ':path': path }, (stream) => stream.write('abc'))],
  [
    'HTTP/2 that stops short of its length',
    (door, path) => converseHttp2(door, { ':path': path, 'content-length': 100 }, (stream) => stream.write('abc'))
  ]
]

async function answersNoSuccess(t: Test, front: Front): Promise<void> {
  // The limits of both sides stand close together here, so that now the front's comes first, and now the service's.
  for (const [limits, { bodySeconds, requestTimeoutMs }] of Object.entries({
    "the front's limit": { bodySeconds: 1, requestTimeoutMs: 2500 },
    "the service's limit": { bodySeconds: 3, requestTimeoutMs: 1000 }
  })) {
    const echo = await startEcho(t, { requestTimeoutMs })
    echo.app.server.setMaxListeners(2 * BROKEN.length + 10)
    const door = await front.start(t, { upstreams: [echo.address], bodySeconds, headerSeconds: 1 })
    await Promise.all(
      ['/wechat/pay/v2/1900000001/notify', '/api/login'].flatMap((path) =>
        BROKEN.map(async ([name, talk]) => {
          const reached = once(echo.app.server, 'request')
          const { status, body, headers, closed } = await talk(door, path, () => reached)
          const what = `${limits}: ${path}, ${name}: ${status ?? 'no answer'}`
          // Caddy may keep a connection that it has answered, where the body timed out in that very moment.
          t.ok(closed || status !== undefined, what)
          t.ok(status === undefined || status >= 400, what)
          if (status !== 408 && headers['content-type']?.startsWith('application/json'))
            t.match(JSON.parse(body), { statusCode: status, code: /^[A-Z_]+$/, message: /./, error: /./ }, what)
        })
      )
    )
    t.equal(echo.seen.length, 0, 'none was taken for a request')

    const complete = await overTls(door, [post('/api/login', 'Content-Length: 3\r\nConnection: close'), 'abc', 'FIN'])
    t.match(complete, { status: 200, headers: { 'x-echo': 'yes' } }, 'one that is complete and half-closed is answered')

    const headers = await converse(await openPlain(door), [`GET / HTTP/1.1\r\nHost: ${DOMAIN}\r\nX`])
    t.match(headers, { closed: true }, 'headers that stop on port 80 end the connection')
    t.ok(headers.status === undefined || headers.status >= 400)
    const silent = await converse(await openPlain(door), [])
    t.equal(silent.closed, true, 'and so does silence')
  }
}

interface Reply {
  status: number
  headers?: Record<string, string>
  body: object
}

/** In place of a status: no answer. */
const BROKEN_OFF = 0

/** A backend in a few lines. */
async function serve(t: Test, answer: (request: IncomingMessage, body: string) => Reply) {
  const server = createServer(async (request, response) => {
    if (request.url === '/readyz') return response.end('ready')
    const { status, headers, body } = answer(request, await text(request))
    if (status === BROKEN_OFF) return response.destroy()
    return response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  })
  await listen(t, server)
  return { server, address: addressOf(server) }
}

/** Whoever reads headers as CGI and WSGI do takes each of these for a verified one. */
const SPOOFED = [
  'x-wx-openid: spoofed',
  'X-WX-UNIONID: spoofed',
  'X-Wx-Appid: spoofed',
  'x-wx-session: spoofed',
  'x-wx-anything: spoofed',
  'X_WX_OPENID: spoofed',
  'x_wx-openid: spoofed',
  'x-wx_unionid: spoofed',
  'X.Wx.Openid: spoofed',
  'x-wx-openid: spoofed again'
]

/** What a client may try with the headers that are for the next hop alone. */
const HOP_BY_HOP = [
  'Connection: x-wx-openid',
  'connection: close, X-WX-OPENID , x-wx-appid,x-wx-session',
  'Connection: keep-alive\r\nConnection: X-Wx-Openid\r\nConnection: authorization, x-wx-unionid',
  'Connection: authorization',
  'Connection: content-length, host, transfer-encoding',
  'Connection: upgrade, x-wx-openid\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
  'Keep-Alive: x-wx-openid',
  'Proxy-Connection: x-wx-openid',
  'TE: trailers, x-wx-openid\r\nConnection: TE, x-wx-openid',
  'Trailer: X-Wx-Openid'
]

async function protectsBackend(t: Test, front: Front): Promise<void> {
  const verified: IncomingHttpHeaders[] = []
  const gate = await serve(t, ({ headers }) => {
    verified.push(headers)
    if (headers.authorization === undefined) return { status: 401, body: { code: 'TOKEN_MISSING' } }
    if (headers.authorization === 'Bearer many')
      return { status: 429, headers: { 'retry-after': '7' }, body: { code: 'RATE_LIMITED' } }
    if (headers.authorization === 'Bearer busy')
      return { status: 503, headers: { 'retry-after': '2' }, body: { code: 'SERVICE_UNAVAILABLE' } }
    if (headers.authorization === 'Bearer broken') return { status: BROKEN_OFF, body: {} }
    if (!headers.authorization.startsWith('Bearer good')) return { status: 401, body: { code: 'TOKEN_INVALID' } }
    const unionid = headers.authorization === 'Bearer good+union' ? { 'x-wx-unionid': 'true-unionid' } : {}
    const user = { ...unionid, 'x-wx-appid': 'wx1', 'x-wx-openid': 'true-openid', 'x-wx-session': 's1' }
    return { status: 200, headers: user, body: { active: true } }
  })
  const reached: (IncomingMessage & { text?: string })[] = []
  const backend = await serve(t, (request, text) => {
    reached.push(Object.assign(request, { text }))
    return { status: 200, body: { secret: 42 } }
  })
  backend.server.on('upgrade', (request, socket) => {
    reached.push(request)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.on('error', () => undefined).pipe(socket)
  })
  const door = await front.start(t, { upstreams: [gate.address], app: backend.address })
  const get = (lines: string[]) => [
    ['GET /app/data?x=1 HTTP/1.1', `Host: ${DOMAIN}`, ...lines, '', ''].join('\r\n'),
    `GET /app/end HTTP/1.1\r\nHost: ${DOMAIN}\r\nConnection: close\r\n\r\n`
  ]
  const user = { 'x-wx-appid': 'wx1', 'x-wx-openid': 'true-openid', 'x-wx-session': 's1' }
  /** What the last request told the backend of who is calling. */
  const told = () =>
    Object.fromEntries(Object.entries(reached.at(-1)?.headers ?? {}).filter(([name]) => /^x.?wx/i.test(name)))

  t.test('passes every refusal on', async (t) => {
    for (const [authorization, status, code, retryAfter] of [
      [undefined, 401, 'TOKEN_MISSING'],
      ['Bearer bad', 401, 'TOKEN_INVALID'],
      ['Bearer many', 429, 'RATE_LIMITED', '7'],
      ['Bearer busy', 503, 'SERVICE_UNAVAILABLE', '2']
    ] as const) {
      const headers = { 'x-wx-openid': 'spoofed', ...(authorization && { authorization }) }
      for (const method of ['GET', 'POST'] as const) {
        const refused = await door.request('/app/data', { method, headers, body: method === 'POST' ? 'data' : '' })
        t.equal(refused.statusCode, status)
        if (front.handsRefusalsOn) t.same(refused.json(), { code }, 'in the words of wxgate')
        else isOwn(t, refused, status, code)
        t.equal(refused.headers['retry-after'], retryAfter)
      }
    }
    t.equal(reached.length, 0, 'nobody without a token gets to the backend')
  })

  t.test('says when to come again where wxgate gave no answer', async (t) => {
    const refused = await door.request('/app/data', { headers: { authorization: 'Bearer broken' } })
    isOwn(t, refused, front.handsRefusalsOn ? 502 : 503, front.handsRefusalsOn ? 'BAD_GATEWAY' : 'SERVICE_UNAVAILABLE')
    t.equal(refused.headers['retry-after'], refused.statusCode === 503 ? '2' : undefined)
  })

  t.test('tells the backend who is calling, and nothing that the client made up', async (t) => {
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      const body = method === 'POST' ? 'some data' : ''
      const headers = { authorization: 'Bearer good', 'content-type': 'a/b', cookie: 'a=1', 'x-wx-unionid': 'spoofed' }
      const answer = await door.request('/app/data?x=1', { method, headers, body })
      t.same([answer.statusCode, answer.json()], [200, { secret: 42 }])
      t.match(reached.at(-1), { method, url: '/app/data?x=1', text: body })
      t.match(reached.at(-1)?.headers, {
        'content-type': 'a/b',
        cookie: 'a=1',
        host: DOMAIN,
        'x-forwarded-for': '127.0.0.1'
      })
      t.same(told(), user, 'an unknown unionid is not the one of the client')
    }
    await door.request('/app/data', { headers: { 'x-wx-openid': 'spoofed', authorization: 'Bearer good+union' } })
    t.same(told(), { ...user, 'x-wx-unionid': 'true-unionid' })
  })

  /** Sends a good token with `lines`; the backend has to see that user and nothing else. */
  async function reachesAsUser(t: Test, lines: string): Promise<void> {
    const count = reached.length
    await converse(await openTls(door), get(['Authorization: Bearer good', lines]))
    t.equal(reached.length, count + 1, lines)
    t.same(told(), user, lines)
  }

  t.test('takes every spelling of those headers from the client', async (t) => {
    for (const line of SPOOFED) await reachesAsUser(t, line)
    t.notMatch(JSON.stringify([...verified, ...reached.map(({ headers }) => headers)]), /spoofed/)
  })

  t.test('keeps what it verified, whatever Connection and its kind name', async (t) => {
    for (const lines of HOP_BY_HOP) await reachesAsUser(t, lines)
    const trailers = [
      'POST /app/x HTTP/1.1',
      `Host: ${DOMAIN}`,
      'Authorization: Bearer good',
      'Transfer-Encoding: chunked'
    ]
    const chunks = '3\r\nabc\r\n0\r\nX-Wx-Openid: spoofed\r\nX-Wx-Unionid: spoofed\r\n\r\n'
    for (const announced of [[], ['Trailer: X-Wx-Openid, X-Wx-Unionid']])
      await converse(await openTls(door), [[...trailers, ...announced, 'Connection: close', '', chunks].join('\r\n')])
    for (const request of reached.slice(-2)) {
      t.match(request, { method: 'POST', text: 'abc' })
      t.same(request.trailers, {}, 'nor in trailers')
    }
    t.same(told(), user)
  })

  t.test('lets WebSocket through, verified like all else', async (t) => {
    const handshake = ['Upgrade: WebSocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13']
    const open = (token: string) =>
      [
        'GET /app/socket HTTP/1.1',
        `Host: ${DOMAIN}`,
        token,
        'Connection: keep-alive, Upgrade, x-wx-openid',
        ...handshake,
        '',
        ''
      ].join('\r\n')
    const count = reached.length
    const socket = await openTls(door)
    const echoed = new Promise<void>((done) => socket.on('data', (data) => String(data).includes('hello') && done()))
    const answer = await converse(socket, [
      open('Authorization: Bearer good'),
      async () => once(socket, 'data'),
      'hello',
      () => echoed,
      'FIN'
    ])
    t.match(answer, { status: 101, body: 'hello' })
    t.equal(reached.length, count + 1)
    t.same(told(), user)
    t.match(reached.at(-1)?.headers, { connection: /^upgrade$/i, 'sec-websocket-version': '13' })

    const stranger = await openTls(door)
    const answered = once(stranger, 'data')
    const refused = await converse(stranger, [open('X: y'), () => answered, 'FIN'])
    t.equal(refused.status, 401)
    t.equal(reached.length, count + 1)
  })

  t.equal((await door.request('/internal/x')).statusCode, 404)
}
