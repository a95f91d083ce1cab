/** The endpoint for APIv3 callbacks when something around it fails: the other rows of docs/wechat/pay.md E. */
import t from 'tap'
import { startRedis } from '../../../tools/redis.ts'
import { MCHID } from '../../helper.ts'
import { until } from '../api/client.ts'
import { valuesOf } from '../metrics.ts'
import { answeredBy, counted, FULL_HEAP, keysOf, NO_WORKER, redisTroubles } from './notices.ts'
import {
  answers,
  buildV3,
  envelope,
  eventsIn,
  FAIL,
  keys,
  notify,
  payment,
  privateKeyOf,
  signed
} from './v3-notices.ts'
import { closingDoor, postTooMuch } from './wire.ts'

const notice = () => signed(envelope(payment()))

t.test('row 9: a body above 1 MiB is 413 and the connection is closed, whether it was announced or not', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  await app.listen({ host: '127.0.0.1', port: 0 })
  for (const answer of await postTooMuch(app, `/wechat/pay/v3/${MCHID}/notify`))
    t.same(answer, { status: 413, type: 'application/json; charset=utf-8', connection: 'close', body: FAIL })
  t.same(await keysOf(app), [])
  await counted(t, world, {}, { 'pay-v3 refused size': 2 })
  t.equal(await answeredBy(app, 'v3/:mchid/notify', 413), 2)
})

t.test('row 25: success does not wait for the merchant, whose backend is away', async (t) => {
  const world = await buildV3(t)
  const { app, backend } = world
  await backend.close()
  answers(t, await notify(app, notice()), 204)
  t.equal((await eventsIn(app)).length, 1)
  await counted(t, world, { 'pay-v3 recorded ': 1 })
})

t.test('row 26: 503 within 2 s while Redis is killed, silent, read-only or full; then all is well', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const world = await buildV3(t, { env: NO_WORKER, redis })
  const { app } = world
  const troubles = redisTroubles(app, redis)
  answers(t, await notify(app, notice()), 204)
  const unknown = { key: privateKeyOf('platformA'), serial: keys.platformA.serial }
  for (const [name, [begin, end]] of Object.entries(troubles)) {
    const body = envelope(payment())
    const messages = [signed(body), signed(body, unknown)]
    await begin()
    for (const message of messages) {
      const startedAt = performance.now()
      const answer = await notify(app, message)
      answers(t, answer, 503, name)
      t.equal(answer.headers['retry-after'], '1')
      t.ok(performance.now() - startedAt < 2000, name)
    }
    await end()
    for (const message of messages) answers(t, await notify(app, message), 204, `${name} is over`)
  }
  const times = Object.keys(troubles).length
  t.equal((await eventsIn(app)).length, 1 + times)
  const taken = { 'pay-v3 recorded ': 1 + times, 'pay-v3 duplicate ': times }
  await counted(t, world, { ...taken, 'pay-v3 failed ': 2 * times })
})

t.test(
  'row 27: while the door closes, what is on an open connection is stored and answered, then it ends',
  async (t) => {
    const door = closingDoor()
    const { app, another } = await buildV3(t, { env: NO_WORKER, prepare: door.prepare })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const watcher = await another()
    const message = () => {
      const { headers, body } = notice()
      return { headers, body: String(body) }
    }
    const answer = await door.send(app, `/wechat/pay/v3/${MCHID}/notify`, [message(), message()])
    t.equal(answer.split('HTTP/1.1 204 No Content').length - 1, 2)
    t.match(answer, /connection: close/)
    t.notMatch(answer, FAIL)
    t.equal((await eventsIn(watcher)).length, 2)
  }
)

t.test('row 27: an overloaded process answers 503 and FAIL, and stores nothing', async (t) => {
  const { app, logs } = await buildV3(t, { env: NO_WORKER, overload: FULL_HEAP })
  await until(async () => (await notify(app, { headers: {}, body: '' })).statusCode === 503)
  const before = (await valuesOf(app, 'refusals_total')).OVERLOADED ?? Number.NaN
  const answer = await notify(app, notice())
  answers(t, answer, 503)
  t.equal(answer.headers['retry-after'], '1')
  t.equal((await valuesOf(app, 'refusals_total')).OVERLOADED, before + 1)
  t.match(logs(), /"route":"POST \/wechat\/pay\/v3\/:mchid\/notify","status":503,[^\n]*"code":"OVERLOADED"/)
  t.notMatch(logs(), 'ciphertext')
  t.same(await eventsIn(app), [])
})

t.test('row 28: other methods are no way in', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
    t.equal((await notify(app, notice(), { method })).statusCode, 404, method)
  t.same(await keysOf(app), [])
})

t.test('row 30: the unforeseen is 500 and FAIL, with a stack but without the body in the log', async (t) => {
  const { app, logs } = await buildV3(t, { env: NO_WORKER })
  app.callbacks.receive = async (_channel, { body }) => {
    throw new TypeError(`cannot read ${body}`)
  }
  const message = notice()
  answers(t, await notify(app, message), 500)
  t.match(logs(), /"level":50,[^\n]*"status":500,[^\n]*"code":"INTERNAL"/)
  t.equal(await answeredBy(app, 'v3/:mchid/notify', 500), 1)
  t.match(logs(), 'pay-v3-trouble.test')
  t.notMatch(logs(), 'ciphertext')
})
