/**
 * /internal/apps/{appid}/wechat: a stale token is seen in every dress, what belongs to an answer stays with it, and the
 * path may come as a query.
 */
import { randomBytes } from 'node:crypto'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { APPID, build } from '../../helper.ts'
import { hastyClock, passing, type Reply, startEcho } from './passing.ts'

const TOKEN = 'access_token=tok%2B%2F%3D1'
const ERRMSG = 'invalid credential, access_token is invalid or not latest rid: 623ea70a-74b9b592-3e3d489a'
const STALE = JSON.stringify({ errcode: 40001, errmsg: ERRMSG })

async function echoing(t: Test) {
  const echo = await startEcho(t)
  const world = await build(t, { env: { WECHAT_API_ORIGIN: echo.origin }, now: hastyClock() })
  return { ...world, echo, pass: await passing(world.app) }
}

const coded = (encoding: string, body: Buffer): Reply => ({ headers: { 'content-encoding': encoding }, body })
const labelled = (type: string, body: Buffer | string = STALE): Reply => ({ headers: { 'content-type': type }, body })
const utf16 = (text: string) => Buffer.from(`\uFEFF${text}`, 'utf16le')
const gbk = (before: string, bytes: number[], after: string) =>
  Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)])

/** The same failure, each time looking different. */
const DRESSINGS: Record<string, Reply> = {
  'blanks before it': { body: ` \r\n\t${STALE}` },
  'blanks and NULs behind it': { body: `${STALE}\n\0\0` },
  'a byte order mark': { body: `\uFEFF${STALE}` },
  'a byte order mark and blanks': { body: `\uFEFF \n${STALE}` },
  'blanks within': { body: '{\n  "errcode" :\t40001 ,\n  "errmsg" : "x"\n}' },
  gzip: coded('gzip', gzipSync(STALE)),
  'x-gzip in capitals': coded('X-GZIP', gzipSync(STALE)),
  'gzip without a label': { body: gzipSync(STALE) },
  'gzip of blanks and a mark': coded('gzip', gzipSync(`\uFEFF ${STALE}`)),
  deflate: coded('deflate', deflateSync(STALE)),
  'deflate without a head': coded('deflate', deflateRawSync(STALE)),
  br: coded('br', brotliCompressSync(STALE)),
  zstd: coded('zstd', zstdCompressSync(STALE)),
  'two codings': coded('gzip, br', brotliCompressSync(gzipSync(STALE))),
  'identity by name': coded('identity', Buffer.from(STALE)),
  'a label without the coding': coded('gzip', Buffer.from(STALE)),
  'an unknown coding': coded('x-none', Buffer.from(STALE)),
  '3 KB': { body: JSON.stringify({ errcode: 40001, errmsg: 'x'.repeat(3000) }) },
  'its errcode last, behind 60 KB': { body: JSON.stringify({ errmsg: 'x'.repeat(60_000), errcode: 40001 }) },
  '60 KB, coded': coded('gzip', gzipSync(JSON.stringify({ errmsg: 'x'.repeat(60_000), errcode: 40001 }))),
  'errcode as text': { body: '{"errcode":"40001","errmsg":"x"}' },
  'errcode as 40001.0': { body: '{"errcode":40001.0,"errmsg":"x"}' },
  'no errmsg': { body: '{"errcode":40001}' },
  'members before it': { body: '{"result":{"errcode":0},"list":[],"errcode":40001}' },
  'control characters within': { body: '{"errcode":40001,"errmsg":"line\nbreak \u001d"}' },
  'broken UTF-8 within': { body: gbk('{"errcode":40001,"errmsg":"', [0xce, 0xff], '"}') },
  'a charset': labelled('application/json; charset=utf-8'),
  'GBK with a backslash in a character': labelled(
    'text/plain;charset="GBK"',
    gbk('{"errcode":40001,"errmsg":"', [0xce, 0xa2, 0xd3, 0x5c], '"}')
  ),
  'a charset that nobody knows': labelled('application/json; charset=nonsense'),
  'UTF-16': { body: utf16(STALE) },
  'UTF-16 the other way': { body: utf16(STALE).swap16() },
  'text/plain': labelled('text/plain'),
  'image/jpeg': labelled('image/jpeg'),
  'text/html': labelled('text/html; charset=gb2312'),
  chunked: { headers: { 'transfer-encoding': 'chunked' }, body: STALE },
  'HTTP 400': { status: 400, body: STALE },
  'HTTP 401': { status: 401, body: STALE },
  'HTTP 412': { status: 412, body: STALE },
  'HTTP 500': { status: 500, body: STALE },
  'HTTP 302': { status: 302, headers: { location: '/x' }, body: STALE },
  '40014': { body: '{"errcode":40014,"errmsg":"invalid access_token"}' },
  '42001': { body: '\n{"errcode":"42001","errmsg":"access_token expired"}' }
}

t.test('a stale token is seen however the answer is labelled, spaced or coded, and renewed once', async (t) => {
  const { echo, pass } = await echoing(t)
  t.equal(Object.keys(DRESSINGS).length, 42)
  for (const [name, reply] of Object.entries(DRESSINGS)) {
    const tokens = echo.tokens()
    echo.answer(reply, { body: 'fine' })
    const got = await pass('/cgi-bin/x', { method: 'POST', body: '{"a":1}' })
    t.same([got.status, got.body.toString()], [200, 'fine'], name)
    const calls = echo.reached.splice(0)
    t.same([calls.length, echo.tokens() - Math.max(tokens, 1)], [2, 1], `${name}: two calls, one new token`)
    t.equal(calls[1]?.body.toString(), '{"a":1}')
    for (const { headers } of calls) t.equal(headers['accept-encoding'], 'identity', 'asked to write it as it is')
  }
})

t.test('the same where WeChat names the length of its answer, up to the longest failure', async (t) => {
  const { echo, pass } = await echoing(t)
  const longest = JSON.stringify({ errmsg: 'x'.repeat(65_000), errcode: 40001, more: '' })
  const body = longest.replace('"more":""', `"more":"${'x'.repeat(65_536 - longest.length)}"`)
  t.same([body.length, body.indexOf('40001') > 65_000], [65_536, true])
  const rows: [name: string, reply: Reply][] = Object.entries(DRESSINGS).filter(([name]) => name !== 'chunked')
  for (const [name, reply] of [...rows, ['errcode at byte 65,000', { body }] as const]) {
    const length = Buffer.byteLength(reply.body ?? '')
    echo.answer({ ...reply, headers: { ...reply.headers, 'content-length': length } }, { body: 'fine' })
    t.equal((await pass('/cgi-bin/x')).body.toString(), 'fine', name)
    t.equal(echo.reached.splice(0).length, 2, name)
  }
  echo.answer({ body: `${body} `, headers: { 'content-length': body.length + 1 } })
  t.equal((await pass('/cgi-bin/x')).body.toString(), `${body} `, 'a byte more is no failure')
  t.equal(echo.reached.length, 1)
})

t.test('what only looks like a stale token is passed on, byte for byte and once', async (t) => {
  const { echo, pass } = await echoing(t)
  const rows: Record<string, Reply> = {
    'a member deeper down': { body: `{"result":${STALE}}` },
    'a member deeper down, coded': coded('gzip', gzipSync(`{"result":${STALE}}`)),
    'a list': { body: `[${STALE}]` },
    'a text that holds it': { body: JSON.stringify({ errcode: 0, content: STALE }) },
    'a list as errcode': { body: '{"errcode":[40001]}' },
    'true as errcode': { body: '{"errcode":true}' },
    'another errcode': { body: '{"errcode":40003}' },
    'no JSON': { body: `${STALE}, and more` },
    'half of it': { body: STALE.slice(0, -1) },
    'HTML that quotes it': labelled('text/html', `<pre>${STALE}</pre>`),
    'a picture': labelled('image/jpeg', Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.from(STALE)])),
    'a file in gzip': labelled('application/gzip', gzipSync(randomBytes(3000))),
    'broken gzip': coded('gzip', gzipSync(STALE).subarray(0, 30)),
    'a bomb': coded('gzip', gzipSync(Buffer.alloc(20_000_000, ' '))),
    'longer than any failure': { body: JSON.stringify({ errcode: 40001, more: 'x'.repeat(70_000) }) },
    nothing: { body: '' }
  }
  t.equal(Object.keys(rows).length, 16)
  for (const [name, reply] of Object.entries(rows)) {
    echo.answer(reply)
    const got = await pass('/x')
    t.ok(got.body.equals(Buffer.from(reply.body ?? '')), name)
    t.equal(got.headers['content-encoding'], reply.headers?.['content-encoding'], name)
    t.equal(echo.reached.splice(0).length, 1, `${name}: one call`)
  }
  t.equal(echo.tokens(), 1)
})

t.test('our own calls read an answer in every dress', async (t) => {
  const { echo, app } = await echoing(t)
  for (const [name, reply] of Object.entries(DRESSINGS)) {
    if (reply.status !== undefined) continue
    echo.answer(reply, { body: gzipSync('\uFEFF {"errcode":0,"a":1}'), headers: { 'content-encoding': 'gzip' } })
    t.match(await app.wechat.accessTokens.post('api', APPID, '/wxa/x', {}), { a: 1 }, name)
  }
})

t.test('what belongs to the status and to the bytes comes with them', async (t) => {
  const { echo, pass } = await echoing(t)
  const rows: [status: number, headers: Record<string, string>][] = [
    [201, { location: '/cgi-bin/new?id=1', 'content-location': '/cgi-bin/new' }],
    [206, { 'content-range': 'bytes 0-3/10', 'accept-ranges': 'bytes', etag: '"a"' }],
    [301, { location: 'https://api2.weixin.qq.com/x' }],
    [302, { location: `https://mp.example/?${TOKEN}` }],
    [303, { location: '../y' }],
    [307, { location: '?z', 'retry-after': '1' }],
    [308, { location: '#' }],
    [304, { etag: 'W/"a"', 'last-modified': 'Tue, 01 Jan 2030 00:00:00 GMT' }],
    [401, { 'www-authenticate': 'Basic realm="x"' }],
    [405, { allow: 'POST' }],
    [416, { 'content-range': 'bytes */10' }],
    [429, { 'retry-after': '17' }],
    [503, { 'retry-after': 'Tue, 01 Jan 2030 00:00:00 GMT' }],
    [200, { 'content-disposition': 'attachment; filename=a.mp4', 'content-language': 'zh-CN', 'content-md5': 'x' }]
  ]
  for (const [status, headers] of rows) {
    echo.answer({ status, headers, body: status === 304 ? '' : 'body' })
    const got = await pass('/x')
    t.equal(got.status, status)
    t.match(got.headers, headers, `${status}`)
    t.equal(got.body.toString(), status === 304 ? '' : 'body')
  }
  t.equal(echo.reached.splice(0).length, rows.length, 'no redirect is followed')

  const asked = { range: 'bytes=0-3', 'if-range': '"a"', 'if-none-match': '"b"', 'if-modified-since': 'x', cookie: 'c' }
  await pass('/x', { headers: asked })
  const { cookie, ...passed } = asked
  t.match(echo.reached[0]?.headers, { ...passed, cookie: undefined })
})

t.test('the path may come as a query, and the rest of the query goes on as it came', async (t) => {
  const { echo, pass } = await echoing(t)
  const rows: [asked: string, reached: string][] = [
    ['?path=cgi-bin/x', `/cgi-bin/x?${TOKEN}`],
    ['/?path=cgi-bin/x', `/cgi-bin/x?${TOKEN}`],
    ['?path=cgi-bin%2Fmedia%2fget&media_id=a+%20%2b', `/cgi-bin/media/get?media_id=a+%20%2b&${TOKEN}`],
    ['?a=1&path=wxa%2Fx&&b=~!', `/wxa/x?a=1&&b=~!&${TOKEN}`],
    ['?a=1&%70ath=wxa/x&xpath=1', `/wxa/x?a=1&xpath=1&${TOKEN}`],
    ['?path=wxa/x&access_token=theirs', `/wxa/x?${TOKEN}`],
    ['?path=wxa%2Fx%252fy', `/wxa/x%2fy?${TOKEN}`],
    ['?path=wxa%2F%E5%BE%AE', `/wxa/%E5%BE%AE?${TOKEN}`],
    ['?path=a=b', `/a=b?${TOKEN}`],
    ['?path=wxa/x&a=%2F..%2F#path', `/wxa/x?a=%2F..%2F&${TOKEN}`]
  ]
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
    for (const [asked, reached] of rows) {
      t.equal((await pass(asked, { method })).status, 200, asked)
      t.match(echo.reached.pop(), { method, url: reached }, asked)
    }
  }
  await pass('?path=a', { method: 'POST', body: 'bytes \0', headers: { 'content-type': 'x/y' } })
  t.match(echo.reached, [{ headers: { 'content-type': 'x/y', 'content-length': '7' }, body: Buffer.from('bytes \0') }])
})

t.test('no path of a query leaves its place, and none that is withheld is reached by one', async (t) => {
  const { echo, pass } = await echoing(t)
  const wrong = [
    '',
    '/',
    '?',
    '?path',
    '?path=',
    '?Path=cgi-bin/x',
    '?path=/cgi-bin/x',
    '?path=//evil.example/x',
    '?path=%2F%2Fevil.example/x',
    '?path=../x',
    '?path=cgi-bin%2F..%2Fx',
    '?path=cgi-bin/%252e%252e/x',
    '?path=a/.',
    '?path=a%5Cb',
    '?path=a%255Cb',
    '?path=a%0d%0aHost:%20x',
    '?path=a%250a',
    '?path=a%00',
    '?path=a%3Fb=c',
    '?path=a%23b',
    '?path=%25zz',
    '?path=a&path=b',
    '?path=a&%70ath=b',
    '/cgi-bin/x?path=cgi-bin/y',
    '/cgi-bin/x?a=1&pat%68=y'
  ]
  for (const path of wrong)
    t.match((await pass(path)).json(), { statusCode: 400, code: 'FST_ERR_VALIDATION', message: /path/ }, path)
  t.equal(wrong.length, 25)
  const withheld = [
    '?path=sns/jscode2session&js_code=x',
    '?path=sns%2FJsCode2Session',
    '?path=sns%2Fjscode%2532session',
    '?path=wxa/reset%2575sersessionkey',
    '?path=wxa/reset%252575sersessionkey',
    '/wxa/reset%2575sersessionkey'
  ]
  for (const path of withheld) t.match((await pass(path)).json(), { statusCode: 404, code: 'NOT_FOUND' }, path)
  t.match((await pass('?path=x', { appid: 'wx0' })).json(), { statusCode: 400, code: 'APP_UNKNOWN' })
  t.match((await pass('?path=x', { headers: { authorization: 'Bearer x' } })).json(), { code: 'TOKEN_INVALID' })
  t.same(echo.reached, [])
})
