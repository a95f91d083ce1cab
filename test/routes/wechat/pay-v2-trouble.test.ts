/** The endpoint for v2 payment notices when something around it fails: the other rows of docs/wechat/pay.md E. */
import t from 'tap'
import { settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { build, MCHID } from '../../helper.ts'
import { until } from '../api/client.ts'
import { valuesOf } from '../metrics.ts'
import {
  answeredBy,
  answers,
  counted,
  eventsIn,
  FAIL,
  FULL_HEAP,
  keysOf,
  NO_WORKER,
  notify,
  payment,
  redisTroubles,
  SUCCESS,
  signed,
  XML
} from './notices.ts'
import { closingDoor, postTooMuch } from './wire.ts'

t.test('row 9: a body above 1 MiB is 413 and the connection is closed, whether it was announced or not', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { app } = world
  await app.listen({ host: '127.0.0.1', port: 0 })
  for (const answer of await postTooMuch(app, `/wechat/pay/v2/${MCHID}/notify`))
    t.same(answer, { status: 413, type: XML, connection: 'close', body: FAIL })
  t.same(await keysOf(app), [])
  await counted(t, world, {}, { 'pay-v2 refused size': 2 })
  t.equal(await answeredBy(app, 'v2/:mchid/notify', 413), 2)
})

t.test('row 25: success does not wait for the merchant, whose backend is away', async (t) => {
  const world = await build(t)
  const { app, backend, secrets } = world
  await backend.close()
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 200)
  t.equal((await eventsIn(app)).length, 1)
  await counted(t, world, { 'pay-v2 recorded ': 1 })
})

t.test('row 26: 503 within 2 s while Redis is killed, silent, read-only or full; then all is well', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const world = await build(t, { env: NO_WORKER, redis })
  const { app, secrets } = world
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
  const recorded = { 'pay-v2 recorded ': bodies.length, 'pay-v2 duplicate ': Object.keys(troubles).length }
  await counted(t, world, { ...recorded, 'pay-v2 failed ': bodies.length })
  t.equal(world.logs().split('"code":"REDIS_UNAVAILABLE"').length - 1, bodies.length)
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
  // The write is in Redis' socket, and Redis does it when it wakes up.
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
  'row 27: while the door closes, what is on an open connection is stored and answered, then it ends',
  async (t) => {
    const door = closingDoor()
    const world = await build(t, { env: NO_WORKER, prepare: door.prepare })
    const { app, another, secrets } = world
    await app.listen({ host: '127.0.0.1', port: 0 })
    const watcher = await another()
    const message = () => ({ body: signed(payment(), secrets.apiV2Key) })
    const answer = await door.send(app, `/wechat/pay/v2/${MCHID}/notify`, [message(), message()])
    t.equal(answer.split('HTTP/1.1 200 OK').length - 1, 2)
    t.equal(answer.split(SUCCESS).length - 1, 2)
    t.match(answer, /connection: close/)
    t.equal((await eventsIn(watcher)).length, 2)
  }
)

t.test('row 27: an overloaded process answers 503 and FAIL at both doors of APIv2, and stores nothing', async (t) => {
  const { app, secrets, logs } = await build(t, { env: NO_WORKER, overload: FULL_HEAP })
  await until(async () => (await notify(app, '')).statusCode === 503)
  const before = (await valuesOf(app, 'refusals_total')).OVERLOADED ?? Number.NaN
  const body = signed(payment(), secrets.apiV2Key)
  for (const door of ['notify', 'refund']) {
    const answer = await notify(app, body, { url: `/wechat/pay/v2/${MCHID}/${door}` })
    answers(t, answer, 503)
    t.equal(answer.headers['retry-after'], '1')
  }
  t.equal((await valuesOf(app, 'refusals_total')).OVERLOADED, before + 2)
  t.equal(await answeredBy(app, 'v2/:mchid/refund', 503), 1)
  t.match(logs(), /"route":"POST \/wechat\/pay\/v2\/:mchid\/refund","status":503,[^\n]*"code":"OVERLOADED"/)
  t.notMatch(logs(), 'oUpF8uMuAJO')
  t.same(await keysOf(app), [])
})

t.test('row 28: other methods are no way in', async (t) => {
  const { app, secrets } = await build(t, { env: NO_WORKER })
  const payload = signed(payment(), secrets.apiV2Key)
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
    t.equal((await notify(app, payload, { method })).statusCode, 404, method)
  t.same(await keysOf(app), [])
})

t.test('row 30: the unforeseen is 500 and FAIL, with a stack but without the body in the log', async (t) => {
  const { app, secrets, logs } = await build(t, { env: NO_WORKER })
  app.callbacks.receive = async (_channel, { body }) => {
    throw new TypeError(`cannot read ${body}`)
  }
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 500)
  t.match(logs(), /"level":50,[^\n]*"status":500,[^\n]*"code":"INTERNAL"/)
  t.equal(await answeredBy(app, 'v2/:mchid/notify', 500), 1)
  t.match(logs(), 'pay-v2-trouble.test')
  t.notMatch(logs(), 'oUpF8uMuAJO')
})
