/** What WeChat never told us of is found all the same, once, by whichever instance works. */
import { writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { APPID, MCHID } from '../../helper.ts'
import { eventsIn } from '../wechat/notices.ts'
import { ORDER } from './order.ts'
import { buildPay, call, type PayWorld, paidOrder } from './pay-world.ts'

const FAST = { RECONCILE_FIRST_MS: '20' }
const NUMBER = ORDER.outTradeNo
const REFUND = { outTradeNo: NUMBER, outRefundNo: 'R20250101_1', amount: 30, total: 88 }

async function doorOf({ app }: PayWorld, api: string): Promise<string[]> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return [`http://127.0.0.1:${(app.server.address() as AddressInfo).port}/wechat/pay/${api}/${MCHID}/notify`]
}

for (const api of ['v2', 'v3']) {
  t.test(`a payment by ${api} that WeChat is silent about is the event that its callback would be`, async (t) => {
    const world = await buildPay(t, { env: FAST })
    const { app, backend, pay } = world
    const { transactionId } = await paidOrder(world, { api, attach: 'x' })
    const event = await backend.waitFor(({ accepted }) => accepted)
    t.match(event, {
      id: `pay_${MCHID}_${transactionId}`,
      type: 'payment.succeeded',
      data: {
        api,
        orderKnown: true,
        transactionId,
        amount: { total: 88, payerTotal: 88, currency: 'CNY' },
        attach: 'x'
      }
    })
    t.match(event.data, { raw: { out_trade_no: NUMBER, trade_state: 'SUCCESS' } })
    const { prepayId = '' } = pay.order(NUMBER)
    const { notices } = await pay.pay({ prepayId, notifyUrls: await doorOf(world, api), times: 2 })
    t.same(
      notices.map(({ status }) => status),
      api === 'v2' ? [200, 200] : [204, 204]
    )
    t.equal((await eventsIn(app)).length, 1)
    await app.close()
    t.match(world.logs(), /found by asking WeChat/)
  })

  t.test(`a callback by ${api} spares the questions`, async (t) => {
    const world = await buildPay(t, { env: { ROLES: 'api' } })
    const { app, pay } = world
    await call(app, 'orders', { ...ORDER, api })
    t.equal(await app.redis.zcard(app.keys.watched), 1)
    const { prepayId = '' } = pay.order(NUMBER)
    await pay.pay({ prepayId, notifyUrls: await doorOf(world, api) })
    t.equal((await eventsIn(app)).length, 1)
    t.equal(await app.redis.zcard(app.keys.watched), 0)
  })

  for (const [status, type] of [
    ['SUCCESS', 'refund.succeeded'],
    ['CLOSED', 'refund.closed']
  ] as const) {
    t.test(`a refund by ${api} that ends as ${status} in silence is an event`, async (t) => {
      const world = await buildPay(t, { env: FAST })
      const { app, backend, pay } = world
      const { transactionId } = await paidOrder(world, { api })
      const { refundId } = (await call(app, 'refunds', REFUND)).json()
      await pay.refund({ outRefundNo: REFUND.outRefundNo, status, times: 0 })
      const event = await backend.waitFor((each) => each.type === type)
      t.equal(event.id, `refund_${MCHID}_${refundId}_${status}`)
      const amount = { total: 88, refund: 30 }
      t.match(event.data, { api, mchid: MCHID, ...{ outTradeNo: NUMBER, transactionId, refundId, amount } })
    })
  }
}

t.test('a refund that is stuck is told, and its end too', async (t) => {
  const world = await buildPay(t, { env: FAST })
  const { app, backend, pay } = world
  await paidOrder(world)
  await call(app, 'refunds', REFUND)
  await pay.refund({ outRefundNo: REFUND.outRefundNo, status: 'ABNORMAL', times: 0 })
  await backend.waitFor(({ type }) => type === 'refund.abnormal')
  await pay.refund({ outRefundNo: REFUND.outRefundNo, times: 0 })
  await backend.waitFor(({ type }) => type === 'refund.succeeded')
  t.equal((await call(app, `orders/${NUMBER}`)).json().state, 'REFUND')
})

t.test('a worker finds what an instance without that role ordered, and two find it once', async (t) => {
  const world = await buildPay(t, { env: { ...FAST, ROLES: 'api' } })
  const { app, another, backend, pay } = world
  await Promise.all([another({ ROLES: 'worker' }), another({ ROLES: 'worker' })])
  for (const outTradeNo of ['SILENT_1', 'SILENT_2', 'SILENT_3']) await paidOrder(world, { outTradeNo })
  const numbers = ['SILENT_1', 'SILENT_2', 'SILENT_3'].map(async (number) => {
    const { id } = await backend.waitFor(({ data }) => (data as { outTradeNo: string }).outTradeNo === number)
    t.equal(id, `pay_${MCHID}_${pay.order(number).transactionId}`)
  })
  await Promise.all(numbers)
  t.equal((await eventsIn(app)).length, 3)
})

t.test('a WeChat that is away delays, but ends nothing', async (t) => {
  const world = await buildPay(t, { env: { RECONCILE_FIRST_MS: '5' } })
  const { backend, pay } = world
  pay.fault({ api: 'v3_query', reset: true, times: 2 })
  pay.fault({ api: 'v3_query', errcode: 'SYSTEM_ERROR', httpStatus: 500, times: 2 })
  pay.fault({ api: 'v3_query', signature: 'wrong', times: 2 })
  await paidOrder(world)
  await backend.waitFor(({ type }) => type === 'payment.succeeded', 20_000)
  t.match(world.logs(), /asking WeChat about silent orders/)
})

t.test('an answer that contradicts our order is no event, but a line in the log', async (t) => {
  const world = await buildPay(t, { env: FAST })
  const { app, backend, pay } = world
  pay.fault({ api: 'v3_query', overrides: { amount: { total: 1 } }, times: 1 })
  const { transactionId } = await paidOrder(world)
  const { data } = await backend.waitFor(({ type }) => type === 'payment.succeeded')
  t.match(data, { transactionId, amount: { total: 88 } })
  t.equal((await eventsIn(app)).length, 1)
  t.match(world.logs(), /"reason":"amount-mismatch","msg":"what WeChat answers contradicts our record"/)
  t.notMatch(world.logs(), ORDER.openid)
})

t.test('a refund that contradicts ours is no event, and moves nothing', async (t) => {
  const world = await buildPay(t, { env: FAST })
  const { app, backend, pay } = world
  await paidOrder(world)
  await call(app, 'refunds', REFUND)
  pay.fault({ api: 'v3_refund_query', overrides: { status: 'CLOSED', amount: { refund: 1 } } })
  await pay.refund({ outRefundNo: REFUND.outRefundNo, times: 0 })
  await backend.waitFor(({ type }) => type === 'refund.succeeded')
  t.equal((await call(app, `refunds/${REFUND.outRefundNo}`)).json().state, 'SUCCESS')
  t.match(world.logs(), /"reason":"amount-mismatch","msg":"what WeChat answers contradicts our record"/)
})

t.test('an order of a merchant that is no longer in the settings contradicts nothing, and is kept', async (t) => {
  const world = await buildPay(t, { env: { ...FAST, ROLES: 'api' } })
  const { app, another, logs } = world
  await paidOrder(world)
  const apps = [{ appid: APPID, secret: 'x' }]
  writeFileSync(join(t.testdirName, 'wechat.json'), JSON.stringify({ apps, merchants: [] }))
  const worker = await another({ ROLES: 'worker' })
  while (!logs().includes('asking WeChat about silent orders')) await app.redis.ping()
  await worker.close()
  t.match(logs(), /"cause":"APP_UNKNOWN","msg":"asking WeChat about silent orders"/)
  t.notMatch(logs(), /contradicts our record/)
  t.equal(await app.redis.zcard(app.keys.watched), 1)
})

t.test('an order that was refused or closed is not asked for any more', async (t) => {
  const world = await buildPay(t, { env: { ROLES: 'api' } })
  const { app } = world
  await call(app, 'orders', ORDER)
  await call(app, `orders/${NUMBER}/close`, {})
  t.equal(await app.redis.zcard(app.keys.watched), 0)
})

t.test('RECONCILE=off: nobody asks, and nothing is kept for it', async (t) => {
  const world = await buildPay(t, { env: { ...FAST, RECONCILE: 'off' } })
  const { app, pay } = world
  await paidOrder(world)
  await call(app, 'refunds', REFUND)
  t.equal(await app.redis.exists(app.keys.watched), 0)
  t.same(
    pay.calls().map(({ api }) => api),
    ['v3_prepay', 'v3_refund']
  )
})
