/**
 * Calls to WeChat over real connections: deadlines, origins, how often a request is sent, and what counts as an answer.
 */
import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { Upstream } from '../../../lib/http/upstream.ts'
import { WechatClient } from '../../../lib/wechat/client.ts'
import { freePort } from '../../../tools/free-port.ts'
import { listenFor, listenRaw } from '../../listen.ts'
import { standStill } from '../../stand-still.ts'

const listenHttp = async (t: Test, listener: RequestListener): Promise<string> => (await listenFor(t, listener)).origin

/** Host and port of a server that does this to every connection. */
const listenPlain = async (t: Test, onSocket?: (socket: Socket) => unknown): Promise<string> =>
  `127.0.0.1:${(await listenRaw(t, onSocket)).port}`

function upstreamTo(t: Test, origins: string[], timeoutMs = 5000, connectionsPerOrigin = 64) {
  const upstream = new Upstream({ origins, timeoutMs, connectionsPerOrigin })
  t.teardown(() => upstream.close())
  return upstream
}

const GET = { method: 'GET', path: '/x' } as const

t.test('send() keeps a connection, and gives a body its length', async (t) => {
  const seen: (string | undefined)[] = []
  const ports = new Set<number | undefined>()
  const origin = await listenHttp(t, (request, response) => {
    seen.push(request.headers['content-length'], request.headers['transfer-encoding'])
    ports.add(request.socket.remotePort)
    request.resume().on('end', () => response.writeHead(201, { 'x-answer': 'y' }).end('成功'))
  })
  const upstream = upstreamTo(t, [origin], 5000, 1)
  const answer = await upstream.send({ method: 'POST', path: '/x', body: '微信' })
  t.match(answer, { status: 201, headers: { 'x-answer': 'y' } })
  t.equal(answer.body.toString(), '成功')
  await upstream.send({ method: 'POST', path: '/x', body: Buffer.alloc(3) })
  await upstream.send(GET)
  t.same(seen, ['6', undefined, '3', undefined, undefined, undefined])
  t.equal(ports.size, 1)
})

t.test('an answer that came while the process stood still is read', async (t) => {
  const origin = await listenHttp(t, (_request, response) => {
    standStill(1500)
    response.end('here')
  })
  const upstream = upstreamTo(t, [origin], 1000)
  for (const request of [GET, { ...GET, isTransfer: true }])
    t.equal((await upstream.send(request)).body.toString(), 'here')
  const { body } = await upstream.open(GET)
  t.equal(await text(body), 'here')
})

t.test('send() leaves an origin that accepts nobody, and one that never finishes its TLS', async (t) => {
  const origin = await listenHttp(t, (_request, response) => response.end('here'))
  const refusing = `http://127.0.0.1:${await freePort()}`
  const silent = `https://${await listenPlain(t)}`
  const noTls = `https://${await listenPlain(t, (socket) => socket.end('HTTP/1.1 400 no\r\n\r\n'))}`
  const resetting = `https://${await listenPlain(t, (socket) => socket.resetAndDestroy())}`
  const upstream = upstreamTo(t, [refusing, noTls, resetting, silent, origin], 4000)
  t.equal((await upstream.send(GET)).body.toString(), 'here')
})

t.test('send() tries a single origin twice, while it cannot be reached', async (t) => {
  let connections = 0
  const resetting = await listenPlain(t, (socket) => {
    connections += 1
    socket.resetAndDestroy()
  })
  const upstream = upstreamTo(t, [`https://${resetting}`])
  await t.rejects(upstream.send(GET), { code: 'WECHAT_UNREACHABLE' })
  t.equal(connections, 2)
})

t.test('send() sends nothing twice, however the answer fails', async (t) => {
  const failures: Record<string, [code: string, fail: (socket: Socket) => void]> = {
    reset: ['WECHAT_UNREACHABLE', (socket) => socket.resetAndDestroy()],
    end: ['WECHAT_UNREACHABLE', (socket) => socket.end()],
    half: ['WECHAT_UNREACHABLE', (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')],
    'no HTTP': ['WECHAT_BAD_RESPONSE', (socket) => socket.end('nonsense\r\n\r\n')]
  }
  for (const [name, [code, fail]] of Object.entries(failures)) {
    let requests = 0
    const failing = await listenPlain(t, (socket) =>
      socket.once('data', () => {
        requests += 1
        fail(socket)
      })
    )
    const origin = `http://${failing}`
    await t.rejects(upstreamTo(t, [origin, origin]).send(GET), { code }, name)
    t.equal(requests, 1, name)
  }
})

t.test('send() ends at its deadline, whatever it waits for', async (t) => {
  const silent = await listenHttp(t, () => {})
  const dripping = await listenHttp(t, (_request, response) => response.write('{'))
  const startedAt = performance.now()
  const waits = [upstreamTo(t, [silent], 300).send(GET), upstreamTo(t, [dripping], 300).send(GET)]
  for (const result of await Promise.allSettled(waits))
    t.match(result, { status: 'rejected', reason: { code: 'WECHAT_TIMEOUT' } })
  t.ok(performance.now() - startedAt < 2000)
})

t.test('send() does not send what waited for a connection until its deadline', async (t) => {
  const paths: (string | undefined)[] = []
  let finish = () => {}
  const origin = await listenHttp(t, ({ url }, response) => {
    paths.push(url)
    if (url !== '/long') {
      response.end()
      return
    }
    const dripping = setInterval(() => response.write('{'), 20)
    finish = () => {
      clearInterval(dripping)
      response.end()
    }
  })
  const busy = upstreamTo(t, [origin], 300, 1)
  const { body } = await busy.open({ method: 'GET', path: '/long' })
  body.resume()
  await t.rejects(busy.send({ method: 'GET', path: '/late' }), { code: 'WECHAT_TIMEOUT' })
  finish()
  await busy.send({ method: 'GET', path: '/last' })
  t.same(paths, ['/long', '/last'])
})

t.test('send() takes no endless answer', async (t) => {
  const origin = await listenHttp(t, (_request, response) => {
    const chunk = Buffer.alloc(1024 * 1024)
    const pour = () => {
      while (response.write(chunk));
    }
    response.on('drain', pour)
    pour()
  })
  await t.rejects(upstreamTo(t, [origin], 20_000).send(GET), { code: 'WECHAT_BAD_RESPONSE', detail: /10 MiB/ })
})

t.test('the client reads what it gets, whatever its label, and repeats once after -1', async (t) => {
  const answers: string[] = []
  const paths: (string | undefined)[] = []
  let status = 200
  const origin = await listenHttp(t, (request, response) => {
    paths.push(request.url)
    response.statusCode = status
    response.setHeader('content-type', 'text/plain').end(answers.shift())
  })
  const upstream = upstreamTo(t, [origin])
  const told: string[] = []
  const meters = { upstreamCall: (api: string, outcome: string) => told.push(`${api} ${outcome}`) }
  const client = new WechatClient({ upstream, meters, now: () => 0, busyPauseMs: 1 })
  const ask = (...bodies: string[]) => {
    answers.splice(0, answers.length, ...bodies)
    return client.get('api', '/a', { q: '&=微 +' })
  }
  t.same(await ask('{"errcode":0,"a":1}'), { errcode: 0, a: 1 })
  t.equal(new URLSearchParams(String(paths[0]).slice(3)).get('q'), '&=微 +')
  t.same(await ask('{"a":1}'), { a: 1 })
  t.same(await ask('{"errcode":-1}', '{"a":2}'), { a: 2 })
  t.same(told, ['a ok', 'a ok', 'a -1', 'a ok'], 'each try is told')
  await t.rejects(ask('{"errcode":-1}', '{"errcode":-1}', '{}'), { code: 'WECHAT_BUSY', wechat: { errmsg: '' } })
  t.equal(answers.length, 1, 'no third time')
  await t.rejects(ask('{"errcode":"40029","errmsg":7}'), {
    code: 'WECHAT_REJECTED',
    wechat: { errcode: 40029, errmsg: '7' }
  })
  for (const none of [
    '',
    'null',
    '[]',
    '"x"',
    '1',
    '{"a":',
    '<html>',
    '{"errcode":"x"}',
    '{"errcode":1.5}',
    '{"errcode":{}}'
  ])
    await t.rejects(ask(none), { code: 'WECHAT_BAD_RESPONSE' }, none)
  for (status of [201, 302, 404, 500]) await t.rejects(ask('{"a":1}'), { code: 'WECHAT_BAD_RESPONSE' }, String(status))
})

t.test('limits of WeChat say when they end', async (t) => {
  let errcode = 0
  const origin = await listenHttp(t, (_request, response) => response.end(JSON.stringify({ errcode })))
  let nowMs = 0
  const client = new WechatClient({
    upstream: upstreamTo(t, [origin]),
    meters: { upstreamCall() {} },
    now: () => nowMs,
    busyPauseMs: 1
  })
  const rows: [time: string, errcode: number, seconds: number][] = [
    ['2025-01-01T15:59:59.000Z', 45009, 1],
    ['2025-01-01T16:00:00.000Z', 45009, 86_400],
    ['2025-01-01T04:00:00.000Z', 44993, 43_200],
    ['2025-01-01T04:00:00.000Z', 45011, 60],
    ['2025-01-01T04:00:59.001Z', 44991, 1],
    ['2025-01-01T04:00:59.001Z', 44990, 1]
  ]
  for (const [time, code, retryAfterSeconds] of rows) {
    nowMs = Date.parse(time)
    errcode = code
    await t.rejects(
      client.post('api', '/a', {}, {}),
      { code: 'WECHAT_RATE_LIMITED', retryAfterSeconds },
      `${code} at ${time}`
    )
  }
})
