/** The door for v2 payment notices when something is wrong around it: the other rows of table E in pay.md. */
import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { build, MCHID, type World } from '../../helper.ts'
import {
  answers,
  eventsIn,
  FAIL,
  keysOf,
  NO_WORKER,
  notify,
  payment,
  redisTroubles,
  SUCCESS,
  signed,
  XML
} from './notices.ts'

async function listen({ app }: World): Promise<AddressInfo> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return app.server.address() as AddressInfo
}

t.test('row 9: a body above 1 MiB is 413 and the connection is closed, whether it was announced or not', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { port } = await listen(world)
  const big = Buffer.alloc(1024 * 1024 + 1, 'x')
  for (const announced of [true, false]) {
    const request = send({
      port,
      method: 'POST',
      path: `/wechat/pay/v2/${MCHID}/notify`,
      headers: announced ? { 'content-length': big.length } : { 'transfer-encoding': 'chunked' }
    })
    request.on('error', () => undefined)
    request.end(big)
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    t.match(answer, { statusCode: 413, headers: { 'content-type': XML, connection: 'close' } })
    t.equal(await text(answer), FAIL)
  }
  t.same(await keysOf(world.app), [])
})

t.test('row 25: success does not wait for the merchant, whose backend is away', async (t) => {
  const { app, backend, secrets } = await build(t)
  await backend.close()
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 200)
  t.equal((await eventsIn(app)).length, 1)
})

t.test('row 26: 503 within 2 s while Redis is killed, silent, read-only or full; then all is well', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const { app, secrets } = await build(t, { env: NO_WORKER, redis })
  const troubles = redisTroubles(app, redis)
  const bodies: string[] = []
  for (const opened of [false, true]) {
    for (const [name, [begin, end]] of Object.entries(troubles)) {
      if (!opened && name === 'killed') continue
      bodies.push(signed(payment(), secrets.apiV2Key))
      await begin()
      const startedAt = performance.now()
      answers(t, await notify(app, bodies.at(-1) ?? ''), 503)
      t.ok(performance.now() - startedAt < 2000, name)
      await end()
      if (opened) answers(t, await notify(app, bodies.at(-1) ?? ''), 200)
    }
  }
  for (const body of bodies) answers(t, await notify(app, body), 200)
  t.equal((await eventsIn(app)).length, bodies.length)
})

t.test('row 26: a write whose answer came too late makes the next notice a duplicate', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app, secrets, logs } = await build(t, { env: NO_WORKER, redis })
  const fields = payment()
  const body = signed(fields, secrets.apiV2Key)
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 200)
  const { stream } = app.redis as unknown as { stream: { write: (...args: unknown[]) => boolean } }
  const write = stream.write.bind(stream)
  // What it is to write lies in Redis' socket, to be done when it wakes up.
  stream.write = (chunk, ...more) => {
    if (String(chunk).includes(fields.transaction_id as string)) redis.pause()
    return write(chunk, ...more)
  }
  const late = await notify(app, body)
  answers(t, late, 503)
  t.equal(late.headers['retry-after'], '1')
  redis.resume()
  await settled(app.redis, 5000)
  answers(t, await notify(app, body), 200)
  t.match(logs(), '"verdict":"duplicate"')
  t.equal((await eventsIn(app)).length, 2)
})

t.test(
  'row 27: while the door closes, what is still on an open connection is stored and gets its success, then it ends',
  async (t) => {
    const closing = Promise.withResolvers<void>()
    const routed = Promise.withResolvers<void>()
    const world = await build(t, {
      env: NO_WORKER,
      prepare: (app) => {
        app.addHook('onRequest', async () => routed.resolve())
        app.addHook('preClose', async () => closing.resolve())
      }
    })
    const { app, another, secrets } = world
    const { port } = await listen(world)
    const watcher = await another()
    const [first, second] = [signed(payment(), secrets.apiV2Key), signed(payment(), secrets.apiV2Key)] as const
    const head = (body: string) =>
      `POST /wechat/pay/v2/${MCHID}/notify HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`
    const socket = connect(port)
    socket.write(head(first) + first.slice(0, 10))
    await routed.promise
    const closed = app.close()
    await closing.promise
    socket.write(first.slice(10) + head(second) + second)
    const answer = await text(socket)
    await closed
    t.equal(answer.split('HTTP/1.1 200 OK').length - 1, 2)
    t.equal(answer.split(SUCCESS).length - 1, 2)
    t.match(answer, /connection: close/)
    t.equal((await eventsIn(watcher)).length, 2)
  }
)

t.test('row 28: other methods are no way in', async (t) => {
  const { app, secrets } = await build(t, { env: NO_WORKER })
  const payload = signed(payment(), secrets.apiV2Key)
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
    t.equal((await notify(app, payload, { method })).statusCode, 404, method)
  t.same(await keysOf(app), [])
})

t.test('row 30: the unforeseen is 500 and FAIL, with a stack but without the body in the log', async (t) => {
  const { app, secrets, logs } = await build(t, { env: NO_WORKER })
  app.paymentCallbacks.receive = async (_mchid, body) => {
    throw new TypeError(`cannot read ${body}`)
  }
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 500)
  t.match(logs(), /"code":"INTERNAL"/)
  t.match(logs(), 'pay-v2-trouble.test')
  t.notMatch(logs(), 'oUpF8uMuAJO')
})
