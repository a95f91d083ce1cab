/**
 * Refusals before there is a request, and answers that Node.js would give by itself: all have the form of every other
 * error.
 */
import { once } from 'node:events'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import wxgate, { serverOptions } from '../app.ts'
import { readSettings } from '../lib/settings.ts'
import { build, logIn } from './helper.ts'
import { exchange, head, listen, type RawAnswer, RawConnection } from './raw-http.ts'
import { until } from './routes/api/client.ts'
import { valuesOf } from './routes/metrics.ts'

const JSON_TYPE = 'application/json; charset=utf-8'

/** An error in the usual form. It ends its connection. */
function refused(t: Test, answer: RawAnswer | undefined, status: number, code: string, name = code): void {
  t.equal(answer?.status, status, name)
  t.match(answer?.headers, { 'content-type': JSON_TYPE, 'x-request-id': /./ }, `${name}: headers`)
  const { requestId, ...body } = JSON.parse(answer?.body || '{}')
  t.match(body, { statusCode: status, code, error: /^[A-Z]/, message: /\w/ }, `${name}: body`)
  t.equal(requestId, answer?.headers['x-request-id'], `${name}: id`)
}

const GET = 'GET /api/test HTTP/1.1'
const POST = 'POST /api/login HTTP/1.1'
const CHUNKED = 'Transfer-Encoding: chunked'
const JSON_LABEL = 'Content-Type: application/json'

const UNREADABLE: Record<string, string> = {
  'no HTTP at all': 'hello\r\n\r\n',
  'an unknown method': head('BREW /api/test HTTP/1.1', 'Host: x'),
  'a method in small letters': head('get /api/test HTTP/1.1', 'Host: x'),
  'a version that there is not': head('GET /api/test HTTP/9.9', 'Host: x'),
  'a TLS greeting': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
  'a space in the path': head('GET /api/ test HTTP/1.1', 'Host: x'),
  'a header without a colon': head(GET, 'Host: x', 'nonsense'),
  'a space in a name': head(GET, 'Host: x', 'a b: c'),
  'a NUL in a value': head(GET, 'Host: x', 'a: \0'),
  'a length that is none': head(POST, 'Host: x', 'Content-Length: ten'),
  'a length below zero': head(POST, 'Host: x', 'Content-Length: -1'),
  'two lengths': head(POST, 'Host: x', 'Content-Length: 1', 'Content-Length: 2'),
  'a length and chunks': head(POST, 'Host: x', 'Content-Length: 4', CHUNKED),
  'a coding that is none': head(POST, 'Host: x', 'Transfer-Encoding: nonsense'),
  'a chunk of no size': `${head(POST, 'Host: x', CHUNKED, JSON_LABEL)}zz\r\n`,
  'a chunk that is longer than it says': `${head(POST, 'Host: x', CHUNKED, JSON_LABEL)}1\r\nabc\r\n`,
  'no host': head(GET)
}

t.test('what is no HTTP is answered 400', async (t) => {
  const { app, logs } = await build(t)
  const port = await listen(app)
  for (const [name, bytes] of Object.entries(UNREADABLE)) {
    const answers = await exchange(
      port,
      `${bytes}${name === 'no host' ? head(GET, 'Host: x', 'Connection: close') : ''}`
    )
    refused(t, answers[0], 400, 'BAD_REQUEST', name)
    if (name !== 'no host') t.match(answers, { length: 1, 0: { headers: { connection: 'close' } } }, name)
  }
  t.equal(logs().match(/"code":"BAD_REQUEST"/g)?.length, Object.keys(UNREADABLE).length, 'one line for each')
  t.equal((await valuesOf(app, 'refusals_total')).BAD_REQUEST, Object.keys(UNREADABLE).length)
})

t.test('what is too long is answered by its own code', async (t) => {
  const { app } = await build(t)
  const port = await listen(app)
  const long = 'x'.repeat(17_000)
  const one = (...lines: string[]) => exchange(port, head(...lines))
  refused(t, (await one(GET, 'Host: x', `a: ${long}`))[0], 431, 'REQUEST_HEADER_FIELDS_TOO_LARGE')
  refused(t, (await one(`GET /${long} HTTP/1.1`, 'Host: x'))[0], 431, 'REQUEST_HEADER_FIELDS_TOO_LARGE', 'a long path')
  const many = Array.from({ length: 3000 }, (_, index) => `a${index}: b`)
  refused(t, (await one(GET, 'Host: x', ...many))[0], 431, 'REQUEST_HEADER_FIELDS_TOO_LARGE', 'many headers')
  const extended = `${head(POST, 'Host: x', CHUNKED, JSON_LABEL)}1;${long}\r\n`
  refused(t, (await exchange(port, extended))[0], 413, 'PAYLOAD_TOO_LARGE')
  refused(
    t,
    (await one(`GET /internal/events/${'x'.repeat(129)} HTTP/1.1`, 'Host: x', 'Connection: close'))[0],
    414,
    'FST_ERR_MAX_PARAM_LENGTH'
  )
  refused(t, (await one('GET /api/%zz HTTP/1.1', 'Host: x', 'Connection: close'))[0], 400, 'FST_ERR_BAD_URL')
})

t.test('methods and expectations that are not ours are answered too', async (t) => {
  const { app } = await build(t)
  const port = await listen(app)
  for (const method of ['PROPFIND', 'TRACE', 'PURGE', 'LINK', 'OPTIONS', 'QUERY', 'SOURCE'])
    refused(
      t,
      (await exchange(port, head(`${method} /api/test HTTP/1.1`, 'Host: x', 'Connection: close')))[0],
      404,
      'NOT_FOUND',
      method
    )
  refused(t, (await exchange(port, head('CONNECT x:443 HTTP/1.1', 'Host: x')))[0], 404, 'NOT_FOUND', 'CONNECT')
  const [star] = await exchange(port, head('OPTIONS * HTTP/1.1', 'Host: x', 'Connection: close'))
  t.match(star, { status: /^4/, headers: { 'content-type': JSON_TYPE } }, 'OPTIONS *')
  for (const more of ['Expect: 200-maybe', 'Upgrade: websocket', 'Upgrade: h2c'])
    t.match(await exchange(port, head(GET, 'Host: x', more, 'Connection: close')), [{ status: 200 }], more)
  const [old] = await exchange(port, head('GET /api/test HTTP/1.0'))
  t.equal(old?.status, 200, 'HTTP/1.0 needs no host')
})

t.test('a request that waits for its answer gets it before what came behind it is refused', async (t) => {
  const { app, sandbox } = await build(t)
  const port = await listen(app)
  const { headers } = await logIn(app, sandbox)
  const session = head('GET /api/session HTTP/1.1', 'Host: x', `Authorization: ${headers.authorization}`)
  for (const wrong of ['no HTTP\r\n\r\n', head('CONNECT x:443 HTTP/1.1', 'Host: x')]) {
    const [first, second, ...more] = await exchange(port, session + session + wrong)
    t.match([first, second], [{ status: 200 }, { status: 200 }], wrong)
    t.match(more, [{ status: /^40[04]$/, headers: { connection: 'close' } }], wrong)
  }
  const refusedEarly = head('POST /api/phone HTTP/1.1', 'Host: x', CHUNKED)
  const connection = new RawConnection(port).send(refusedEarly)
  await once(connection.socket, 'data')
  t.match(
    await connection.send('zz\r\n').answers(),
    { length: 1, 0: { status: 401 } },
    'answered before its body broke'
  )
})

t.test('what drips, or never comes, is answered 408 in time', async (t) => {
  const { env } = await build(t)
  const settings = readSettings(env)
  const options = serverOptions(settings)
  const timesOf = { headersTimeout: 30_000, requestTimeout: 30_000, connectionsCheckingInterval: 1000 }
  t.match(options, { requestTimeout: 30_000, http: timesOf }, '30 s, and at most one more')

  const short = { headersTimeout: 400, requestTimeout: 400, connectionsCheckingInterval: 100 }
  const app = fastify({ ...options, logger: false, requestTimeout: 400, http: { ...options.http, ...short } })
  t.teardown(() => app.close())
  await app.register(wxgate, { settings })
  const port = await listen(app)
  const drips: Record<string, string> = {
    nothing: '',
    'half a line': 'POST /api/lo',
    headers: 'POST /api/login HTTP/1.1\r\nHost: x\r\nA',
    body: head(POST, 'Host: x', JSON_LABEL, 'Content-Length: 1000'),
    chunks: `${head(POST, 'Host: x', JSON_LABEL, CHUNKED)}1\r\n{\r\n`,
    callback: head('POST /wechat/pay/v2/1/notify HTTP/1.1', 'Host: x', 'Content-Length: 1000')
  }
  await Promise.all(
    Object.entries(drips).map(async ([name, bytes]) => {
      const startedAt = performance.now()
      const connection = new RawConnection(port)
      if (bytes) connection.send(bytes)
      const drip = setInterval(() => bytes && connection.send(name === 'chunks' ? '1\r\nx\r\n' : 'x'), 50)
      const [answer] = await connection.answers()
      clearInterval(drip)
      refused(t, answer, 408, 'REQUEST_TIMEOUT', name)
      t.ok(performance.now() - startedAt > 390, `${name}: not before its time`)
    })
  )
  await until(async () => (await valuesOf(app, 'refusals_total')).REQUEST_TIMEOUT === Object.keys(drips).length)
})
