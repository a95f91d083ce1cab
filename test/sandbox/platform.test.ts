/** The sandbox's platform APIs, and its record of what arrived: what a gateway's passing-on is compared with. */
import { createHash } from 'node:crypto'
import t from 'tap'
import type { Sandbox } from '../../sandbox/index.ts'
import { APPID, askToken, build, type Json, OTHER_APPID, postJson, readJson } from './client.ts'

const TEN_MIB = 10 * 1024 * 1024
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex')

interface Platform {
  sandbox: Sandbox
  token: unknown
  openid: string
  /** A POST of JSON with the token. */
  ask(path: string, body: unknown): Promise<Json>
}

async function platform(t: Parameters<typeof build>[0], pages?: string[]): Promise<Platform> {
  const secret = '0123456789abcdef0123456789abcdef'
  const { sandbox } = await build(t, {
    apps: [
      { appid: APPID, secret, ...(pages && { pages }) },
      { appid: OTHER_APPID, secret }
    ]
  })
  const { openid } = sandbox.login({ appid: APPID })
  const token = (await askToken(sandbox)).access_token
  return {
    sandbox,
    token,
    openid,
    ask: (path, body) => postJson(`${sandbox.origin}${path}?access_token=${token}`, body)
  }
}

t.test('getwxacodeunlimit answers a picture, or JSON that says why not', async (t) => {
  const { sandbox, token, ask } = await platform(t, ['pages/index/index'])
  const url = `${sandbox.origin}/wxa/getwxacodeunlimit?access_token=${token}`
  const draw = (body: Json) => fetch(url, { method: 'POST', body: JSON.stringify({ scene: 'a=1', ...body }) })
  const jpeg = await draw({ page: 'pages/index/index' })
  t.equal(jpeg.headers.get('content-type'), 'image/jpeg')
  const bytes = Buffer.from(await jpeg.arrayBuffer())
  t.equal(bytes.toString('hex', 0, 3), 'ffd8ff')
  t.equal(bytes.toString('hex', bytes.length - 2), 'ffd9')
  t.not(Buffer.from(bytes.toString('utf8')).length, bytes.length, 'the bytes are not UTF-8')
  const png = await draw({ is_hyaline: true })
  t.equal(png.headers.get('content-type'), 'image/png')
  t.equal(Buffer.from(await png.arrayBuffer()).toString('latin1', 1, 4), 'PNG')

  const errcode = async (body: Json) => (await ask('/wxa/getwxacodeunlimit', { scene: 'a=1', ...body })).errcode
  t.equal(await errcode({ page: 'pages/none' }), 41030)
  t.equal(await errcode({ page: '/pages/index/index' }), 41030)
  t.equal(await errcode({ page: 'pages/index/index?a=1', check_path: false }), 41030)
  t.equal((await draw({ page: 'pages/none', check_path: false })).headers.get('content-type'), 'image/jpeg')
  t.equal(await errcode({ scene: 'x'.repeat(33) }), 40169)
  t.equal(await errcode({ scene: '' }), 40169)
  t.equal(await errcode({ scene: '100%' }), 40129)
  t.equal(await errcode({ scene: 'scancode_time=1' }), 85096)
  t.equal(await errcode({ width: 279 }), 40097)
  t.equal(await errcode({ width: 1281 }), 40097)
  t.equal((await readJson(await fetch(url, { method: 'POST', body: 'no json' }))).errcode, 40169)
})

t.test('msg_sec_check and getuserriskrank judge a user of the app', async (t) => {
  const { sandbox, openid, ask } = await platform(t)
  const elsewhere = sandbox.login({ appid: OTHER_APPID }).openid
  const text = { content: '你好', version: 2, scene: 1, openid }
  const check = (changes: Json) => ask('/wxa/msg_sec_check', { ...text, ...changes })
  t.match(await check({}), { errcode: 0, result: { suggest: 'pass', label: 100 }, trace_id: /./ })
  t.equal((await check({ scene: 5 })).errcode, 40129)
  t.equal((await check({ version: 1 })).errcode, 47001)
  t.equal((await check({ content: '' })).errcode, 47001)
  t.equal((await check({ openid: 'oNobody' })).errcode, 40003)
  t.equal((await check({ openid: elsewhere })).errcode, 43104)

  const user = { appid: APPID, openid, scene: 0, client_ip: '127.0.0.1' }
  const rank = (changes: Json) => ask('/wxa/getuserriskrank', { ...user, ...changes })
  t.same(await rank({}), { errcode: 0, errmsg: 'getuserriskrank succ', risk_rank: 0, unoin_id: 2258658297 })
  t.equal((await rank({ appid: OTHER_APPID })).errcode, 40013)
  t.equal((await rank({ scene: 3 })).errcode, 40129)
  t.equal((await rank({ client_ip: '' })).errcode, 47001)
  t.equal((await rank({ openid: elsewhere })).errcode, 43104)
})

t.test('subscribe/send reaches who did not refuse, with an id that no double holds', async (t) => {
  const { sandbox, token, openid, ask } = await platform(t, ['pages/index/index'])
  const path = '/cgi-bin/message/subscribe/send'
  const message = {
    touser: openid,
    template_id: 'T1',
    data: { thing1: { value: '一' } },
    page: 'pages/index/index?a=1'
  }
  const send = (changes: Json) => ask(path, { ...message, ...changes })
  const url = `${sandbox.origin}${path}?access_token=${token}`
  const raw = await (await fetch(url, { method: 'POST', body: JSON.stringify(message) })).text()
  t.match(raw, /^\{"errcode":0,"errmsg":"ok","msgid":3\d{18}\}$/)
  t.not(JSON.stringify(JSON.parse(raw)), raw, 'parsed and written again it is another')
  t.equal((await send({ touser: 'oNobody' })).errcode, 40003)
  t.equal((await send({ template_id: '' })).errcode, 47001)
  t.equal((await send({ data: null })).errcode, 47001)
  t.equal((await send({ page: 'pages/none' })).errcode, 41030)
  t.match(await send({ data: { thing1: { value: '一'.repeat(21) } } }), {
    errcode: 47003,
    errmsg: /data\.thing1\.value/
  })
  const answer = (accept: boolean) =>
    postJson(`${sandbox.origin}/sandbox/subscription`, { appid: APPID, openid, accept })
  t.same(await answer(false), { accepted: false })
  t.equal((await send({})).errcode, 43101)
  t.same(sandbox.subscription({ appid: APPID, openid, accept: true }), { accepted: true })
  t.equal((await send({})).errcode, 0)
})

t.test('getcallbackip lists addresses without an errcode', async (t) => {
  const { sandbox, token } = await platform(t)
  const url = `${sandbox.origin}/cgi-bin/getcallbackip?access_token=${token}`
  t.same(await readJson(await fetch(url)), { ip_list: ['192.0.2.10', '198.51.100.0/24'] })
  t.equal((await readJson(await fetch(url, { method: 'POST' }))).errcode, 43001)
})

/** A multipart body of exactly `size` bytes. */
function multipart(size: number): Buffer<ArrayBuffer> {
  const head = '--b0\r\nContent-Disposition: form-data; name="media"; filename="a.jpg"\r\n\r\n'
  const tail = '\r\n--b0--\r\n'
  return Buffer.concat([Buffer.from(head), Buffer.alloc(size - head.length - tail.length, 0xfe), Buffer.from(tail)])
}

t.test('media/upload takes 10 MiB raw and records them', async (t) => {
  const { sandbox, token } = await platform(t)
  const contentType = 'multipart/form-data; boundary=b0'
  const upload = (body: Uint8Array<ArrayBuffer>, type = 'image', headers = { 'content-type': contentType }) =>
    fetch(`${sandbox.origin}/cgi-bin/media/upload?type=${type}&access_token=${token}&x=%2B`, {
      method: 'POST',
      headers,
      body
    })
  const body = multipart(TEN_MIB)
  t.match(await readJson(await upload(body)), {
    type: 'image',
    media_id: /^[\w-]{64}$/,
    created_at: Date.parse('2025-01-01') / 1000
  })
  const call = sandbox.calls().at(-1)
  t.match(call, { api: 'media_upload', appid: APPID, errcode: 0 })
  t.same(call?.received, {
    query: 'type=image&x=%2B',
    contentType,
    contentLength: TEN_MIB,
    bodyBytes: TEN_MIB,
    bodySha256: sha256(body)
  })
  t.equal((await upload(multipart(TEN_MIB + 1))).status, 413)
  const errcode = async (...input: Parameters<typeof upload>) => (await readJson(await upload(...input))).errcode
  t.equal(await errcode(multipart(500), 'picture'), 40004)
  t.equal(await errcode(multipart(500), 'image', { 'content-type': 'image/jpeg' }), 41005)
  t.equal(await errcode(Buffer.from('--b0--')), 41005)
})

t.test('every platform API checks method and token, and plays faults', async (t) => {
  const { sandbox, token } = await platform(t)
  const posts = [
    ['getwxacodeunlimit', '/wxa/getwxacodeunlimit', 40169],
    ['msg_sec_check', '/wxa/msg_sec_check', 44002],
    ['subscribe_send', '/cgi-bin/message/subscribe/send', 44002],
    ['getuserriskrank', '/wxa/getuserriskrank', 44002],
    ['media_upload', '/cgi-bin/media/upload', 40004]
  ] as const
  for (const [api, path, empty] of posts) {
    const url = `${sandbox.origin}${path}`
    const errcode = async (query: string, method = 'POST') =>
      (await readJson(await fetch(`${url}?${query}`, { method }))).errcode
    t.equal(await errcode(`access_token=${token}`, 'GET'), 43002, api)
    t.equal(await errcode(''), 41001, api)
    t.equal(await errcode('access_token=made-up'), 40001, api)
    t.equal(await errcode(`access_token=${token}`), empty, api)
    sandbox.fault({ api, errcode: 45009 })
    t.equal(await errcode(`access_token=${token}`), 45009, api)
    const body = new Blob(['{"a":1}']).stream()
    const chunked = await fetch(`${url}?access_token=${token}`, { method: 'POST', body, duplex: 'half' })
    t.equal(chunked.status, 412, api)
    t.equal(await chunked.text(), '', api)
    const call = sandbox.calls().at(-1)
    t.match(call, { api, httpStatus: 412, received: { bodyBytes: 7, bodySha256: sha256('{"a":1}') } })
    t.notOk(call?.received && 'contentLength' in call.received)
  }
  for (const body of ['[]', 'x'])
    t.equal((await postJson(`${sandbox.origin}/wxa/msg_sec_check?access_token=${token}`, body)).errcode, 47001)
  sandbox.expireToken({ appid: APPID })
  t.equal((await readJson(await fetch(`${sandbox.origin}/cgi-bin/getcallbackip?access_token=${token}`))).errcode, 42001)
})

t.test('calls() shows the query as it came, and never the token', async (t) => {
  const { sandbox, token, openid } = await platform(t)
  const query = async (text: string) => {
    await fetch(`${sandbox.origin}/cgi-bin/getcallbackip${text}`)
    return sandbox.calls().at(-1)?.received?.query
  }
  t.equal(await query(`?a=1&access_token=${token}&a=%E4&b`), 'a=1&a=%E4&b')
  t.equal(await query(`?access_token=${token}`), '')
  t.equal(await query(`?access%5Ftoken=${token}&b=+`), 'b=+', 'however it is spelt')
  t.equal(await query(''), '')
  const body = JSON.stringify({ touser: openid, note: 'ü' })
  const headers = { 'content-type': 'application/json; charset=gbk' }
  await fetch(`${sandbox.origin}/cgi-bin/message/subscribe/send?access_token=${token}`, {
    method: 'POST',
    headers,
    body
  })
  t.match(sandbox.calls().at(-1), {
    appid: APPID,
    openid,
    errcode: 47001,
    received: {
      contentType: headers['content-type'],
      contentLength: Buffer.byteLength(body),
      bodySha256: sha256(body)
    }
  })
  t.notOk((await (await fetch(`${sandbox.origin}/sandbox/calls`)).text()).includes(String(token)))
})
