/** Transfers in both directions: they continue as long as data moves, and end when nothing moves for the time-out. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Upstream } from '../../../lib/http/upstream.ts'
import { listenFor, listenRaw } from '../../listen.ts'

const MEBIBYTE = 1024 * 1024
const TIMEOUT_MS = 1000

/** A server that reads and answers as the test says, one socket at a time. */
async function serve(t: Test, onConnection: (socket: Socket) => Promise<unknown>) {
  const onSocket = (socket: Socket) => onConnection(socket).catch(() => undefined)
  const { port } = await listenRaw(t, onSocket, { pauseOnConnect: true, noDelay: true })
  const origin = `http://127.0.0.1:${port}`
  const upstream = new Upstream({ origins: [origin], timeoutMs: TIMEOUT_MS })
  t.teardown(() => upstream.close())
  return upstream
}

/** Reads a request at a rate (bytes a second) until `until` bytes have come; answers its head and how many came. */
async function readSlowly(socket: Socket, rate: number, until = Number.POSITIVE_INFINITY) {
  let text = ''
  let size = 0
  socket.resume()
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (!text.includes('\r\n\r\n')) text += chunk.toString('latin1').slice(0, 4096)
    const head = text.split('\r\n\r\n', 1)[0] ?? ''
    const wanted = head.length + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
    if (size >= Math.min(until, wanted)) return { head, size: size - head.length - 4 }
    await pause((chunk.length / rate) * 1000)
  }
  return { head: text, size }
}

const answer = (body: string) => `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
const upload = (bytes: number) =>
  ({ method: 'POST', path: '/x', body: Buffer.alloc(bytes, 'x'), isTransfer: true }) as const
const GET = { method: 'GET', path: '/x', isTransfer: true } as const

async function timed<T>(work: Promise<T>): Promise<[result: PromiseSettledResult<T>, milliseconds: number]> {
  const startedAt = performance.now()
  const [result] = await Promise.allSettled([work])
  return [result, performance.now() - startedAt]
}

t.test('an upload that moves takes the time it needs', { skip: process.platform !== 'linux' }, async (t) => {
  const rows: [bytes: number, rate: number, least: number][] = [
    [9 * MEBIBYTE, 3 * MEBIBYTE, 2 * TIMEOUT_MS],
    [3 * MEBIBYTE, 1 * MEBIBYTE, 2 * TIMEOUT_MS],
    [1 * MEBIBYTE, 0.3 * MEBIBYTE, 2 * TIMEOUT_MS]
  ]
  await Promise.all(
    rows.map(async ([bytes, rate, least]) => {
      const upstream = await serve(t, async (socket) => {
        const { head, size } = await readSlowly(socket, rate)
        socket.write(answer(`${size} ${/transfer-encoding/i.test(head)}`))
      })
      const [result, took] = await timed(upstream.send(upload(bytes)))
      const value = result.status === 'fulfilled' ? result.value.body.toString() : result.reason
      t.equal(value, `${bytes} false`, 'all of it came, with its length')
      t.ok(took > least, `${bytes} bytes took ${took} ms`)
    })
  )
})

t.test('an upload that stands still, or is not answered, ends after its time', async (t) => {
  const rows: Record<string, (socket: Socket) => Promise<unknown>> = {
    'nothing is read': () => once(new EventTarget(), 'never'),
    'it stops in the middle': (socket) => readSlowly(socket, 50 * MEBIBYTE, MEBIBYTE).then(() => socket.pause()),
    'it is read, and not answered': (socket) => readSlowly(socket, 1000 * MEBIBYTE),
    'its answer stops in the middle': async (socket) => {
      await readSlowly(socket, 1000 * MEBIBYTE)
      socket.write(answer('half of it').slice(0, -3))
    },
    'a head that stops': async (socket) => {
      await readSlowly(socket, 1000 * MEBIBYTE)
      socket.write('HTTP/1.1 200 OK\r\ncontent-')
    }
  }
  for (const bytes of [9 * MEBIBYTE, 1000]) {
    for (const [name, behave] of Object.entries(rows)) {
      if (bytes === 1000 && name === 'it stops in the middle') continue
      const upstream = await serve(t, behave)
      const [result, took] = await timed(upstream.send(upload(bytes)))
      t.match(result, { status: 'rejected', reason: { code: 'WECHAT_TIMEOUT' } }, `${bytes}: ${name}`)
      t.ok(took >= TIMEOUT_MS * 0.9, `${name}: not before its time`)
      t.ok(took < 20 * TIMEOUT_MS, `${name}: ${took} ms`)
    }
  }
})

t.test('an answer that moves takes the time it needs; the same call without that ends with its time', async (t) => {
  const drip = async (socket: Socket) => {
    await readSlowly(socket, 1000 * MEBIBYTE)
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n')
    for (const letter of '123456789') {
      await pause(TIMEOUT_MS / 4)
      socket.write(letter)
    }
  }
  const upstream = await serve(t, drip)
  const [moved, took] = await timed(upstream.send(GET))
  t.match(moved, { status: 'fulfilled', value: { body: Buffer.from('123456789') } })
  t.ok(took > 2 * TIMEOUT_MS, `it took ${took} ms`)
  const whole = await timed(upstream.send({ ...GET, isTransfer: false }))
  t.match(whole[0], { status: 'rejected', reason: { code: 'WECHAT_TIMEOUT' } })
})

t.test('a transfer that waits for a connection ends after its time', async (t) => {
  const upstream = new Upstream({ origins: ['http://127.0.0.1:1'], timeoutMs: 50 })
  t.teardown(() => upstream.close())
  await t.rejects(upstream.send(upload(MEBIBYTE)), { code: /WECHAT_(UNREACHABLE|TIMEOUT)/ })
  const held = await serve(t, (socket) => readSlowly(socket, 1000 * MEBIBYTE))
  const results = await Promise.allSettled(Array.from({ length: 70 }, () => held.send(GET)))
  for (const result of results) t.match(result, { status: 'rejected', reason: { code: 'WECHAT_TIMEOUT' } })
})

/** Begins an answer of 2 MiB whose length is named, and which the system takes at once. */
async function beginLong(t: Test, timeoutMs: number) {
  const closed = Promise.withResolvers<void>()
  const { origin } = await listenFor(t, (_request, response) => {
    response.once('close', closed.resolve)
    response.writeHead(200, { 'content-length': 2 * MEBIBYTE }).end(Buffer.alloc(2 * MEBIBYTE))
  })
  const upstream = new Upstream({ origins: [origin], timeoutMs })
  t.teardown(() => upstream.close())
  const { body } = await upstream.begin({ method: 'GET', path: '/x' }, HELD_BYTES)
  if (Buffer.isBuffer(body)) throw new Error('it is not open')
  return { body, closed: closed.promise }
}

const HELD_BYTES = 64 * 1024

t.test('an open answer is read no faster than its reader reads', async (t) => {
  const { body } = await beginLong(t, 60_000)
  for (let turn = 0; turn < 500; turn += 1) await setImmediate()
  t.ok(body.readableLength > HELD_BYTES && body.readableLength < 4 * HELD_BYTES, `${body.readableLength} bytes wait`)
  t.equal((await buffer(body)).length, 2 * MEBIBYTE)
})

t.test('a reader who reads nothing ends the call, after more time than WeChat has', async (t) => {
  const startedAt = performance.now()
  const { body, closed } = await beginLong(t, 20)
  const [error] = await once(body, 'error')
  t.match(error, { code: 'REQUEST_TIMEOUT' })
  t.ok(performance.now() - startedAt > 200)
  await closed
})
