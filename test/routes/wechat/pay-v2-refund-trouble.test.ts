/**
 * The endpoint for v2 refund notices when something around it fails, and other callers: the other rows of
 * docs/wechat/pay.md E.
 */
import t from 'tap'
import { Orders } from '../../../lib/pay/records.ts'
import { startRedis } from '../../../tools/redis.ts'
import { MCHID } from '../../helper.ts'
import { ORDER } from '../internal/order.ts'
import { valuesOf } from '../metrics.ts'
import {
  answeredBy,
  answers,
  atOnce,
  counted,
  countedBy,
  FAIL,
  keysOf,
  NO_WORKER,
  redisTroubles,
  SUCCESS,
  XML
} from './notices.ts'
import { buildRefund, OUT_REFUND_NO, refundEvents, tell, unconfirmed } from './refund-notices.ts'
import { closingDoor, postTooMuch } from './wire.ts'

const DOOR = `/wechat/pay/v2/${MCHID}/refund`
const REFUNDED = { outRefundNo: OUT_REFUND_NO, times: 0 }

t.test('row 3: twenty notices of one refund at once, over two instances, are one event', async (t) => {
  const { app, another, pay, sealed, idOf } = await buildRefund(t, { env: NO_WORKER })
  await pay.refund(REFUNDED)
  const both = [app, await another()] as const
  for (const answer of await atOnce(20, both, (each) => tell(each, sealed()))) answers(t, answer, 200)
  t.same(
    (await refundEvents(app)).map(({ id }) => id),
    [idOf('SUCCESS')]
  )
  t.same(await unconfirmed(app), [])
  t.same(await countedBy(both), { 'pay-v2-refund recorded ': 1, 'pay-v2-refund duplicate ': 19 })
})

t.test('row 9: a body above 1 MiB is 413 and the connection is closed, whether it was announced or not', async (t) => {
  const world = await buildRefund(t, { env: NO_WORKER })
  const { app } = world
  const before = await keysOf(app)
  for (const answer of await postTooMuch(app, DOOR))
    t.same(answer, { status: 413, type: XML, connection: 'close', body: FAIL })
  t.same(await keysOf(app), before)
  await counted(t, world, {}, { 'pay-v2-refund refused size': 2 })
  t.equal(await answeredBy(app, 'v2/:mchid/refund', 413), 2)
})

t.test('row 19: a refund of an order unknown here is recorded once WeChat confirms it', async (t) => {
  const { another, pay, sealed, idOf } = await buildRefund(t, { env: NO_WORKER })
  await pay.refund(REFUNDED)
  const stranger = await another({ REDIS_PREFIX: 'elsewhere' })
  answers(t, await tell(stranger, sealed()), 200)
  t.match(await refundEvents(stranger), [{ id: idOf('SUCCESS'), data: { outTradeNo: ORDER.outTradeNo } }])
  t.same(await valuesOf(stranger, 'callbacks_total'), { 'pay-v2-refund recorded ': 1 })
})

t.test('row 20: a refund of an order that is closed here is recorded: money has moved', async (t) => {
  const world = await buildRefund(t, { env: NO_WORKER })
  const { app, pay, sealed, idOf } = world
  await pay.refund(REFUNDED)
  const orders = new Orders(app.redis, app.keys)
  t.equal(await orders.advance(MCHID, ORDER.outTradeNo, 'CLOSED'), 'CLOSED')
  answers(t, await tell(app, sealed()), 200)
  t.match(await refundEvents(app), [{ id: idOf('SUCCESS') }])
  t.equal(await orders.stateOf(MCHID, ORDER.outTradeNo), 'REFUND')
  await counted(t, world, { 'pay-v2-refund recorded ': 1 })
})

t.test('row 25: success does not wait for the merchant, whose backend is away', async (t) => {
  const { app, backend, pay, sealed, idOf } = await buildRefund(t)
  await pay.refund(REFUNDED)
  await backend.close()
  answers(t, await tell(app, sealed()), 200)
  t.match(await refundEvents(app), [{ id: idOf('SUCCESS') }])
})

t.test('row 26: 503 within 2 s while Redis is killed, silent, read-only or full, confirmed or not', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const world = await buildRefund(t, { env: NO_WORKER, redis })
  const { app, pay, sealed, idOf } = world
  await pay.refund(REFUNDED)
  const troubles = redisTroubles(app, redis)
  for (const [name, [begin, end]] of Object.entries(troubles)) {
    await begin()
    for (const fault of [{}, { garbage: true }]) {
      pay.fault({ api: 'refundquery', ...fault })
      const startedAt = performance.now()
      const answer = await tell(app, sealed())
      answers(t, answer, 503)
      t.equal(answer.headers['retry-after'], '1')
      t.ok(performance.now() - startedAt < 2000, name)
      pay.clearFaults()
    }
    await end()
    t.same([...(await refundEvents(app)), ...(await unconfirmed(app))], [], name)
  }
  answers(t, await tell(app, sealed()), 200)
  t.match(await refundEvents(app), [{ id: idOf('SUCCESS') }])
  const failed = 2 * Object.keys(troubles).length
  await counted(t, world, { 'pay-v2-refund failed ': failed, 'pay-v2-refund recorded ': 1 })
})

t.test(
  'row 27: while the door closes, what is on an open connection is confirmed and stored, then it ends',
  async (t) => {
    const door = closingDoor()
    const { app, another, pay, sealed, idOf } = await buildRefund(t, { env: NO_WORKER, prepare: door.prepare })
    await pay.refund(REFUNDED)
    const watcher = await another()
    const message = { body: sealed() }
    const answer = await door.send(app, DOOR, [message, message])
    t.equal(answer.split('HTTP/1.1 200 OK').length - 1, 2)
    t.equal(answer.split(SUCCESS).length - 1, 2)
    t.match(answer, /connection: close/)
    t.match(await refundEvents(watcher), [{ id: idOf('SUCCESS') }])
    t.same(await unconfirmed(watcher), [])
  }
)

t.test('row 28: other methods are no way in', async (t) => {
  const { app, pay, sealed } = await buildRefund(t, { env: NO_WORKER })
  await pay.refund(REFUNDED)
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
    t.equal((await tell(app, sealed(), { method })).statusCode, 404, method)
  t.same([...(await refundEvents(app)), ...(await unconfirmed(app))], [])
})

t.test('row 30: the unforeseen is 500 and FAIL, with a stack but without the body in the log', async (t) => {
  const { app, sealed, logs } = await buildRefund(t, { env: NO_WORKER })
  app.callbacks.receive = async (_channel, { body }) => {
    throw new TypeError(`cannot read ${body}`)
  }
  answers(t, await tell(app, sealed()), 500)
  t.match(logs(), /"level":50,[^\n]*"status":500,[^\n]*"code":"INTERNAL"/)
  t.match(logs(), 'pay-v2-refund-trouble.test')
  t.notMatch(logs(), '<req_info>')
  t.equal(await answeredBy(app, 'v2/:mchid/refund', 500), 1)
})
