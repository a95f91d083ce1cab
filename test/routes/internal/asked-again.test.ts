/** The same order or refund, requested several times: one record that lives longer, and an early query to WeChat. */
import t from 'tap'
import { MCHID } from '../../helper.ts'
import { ORDER, refused } from './order.ts'
import { buildPay, call, paidOrder } from './pay-world.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const NUMBER = ORDER.outTradeNo
const REFUND = { outTradeNo: NUMBER, outRefundNo: 'R20250101_1', amount: 30, total: 88 }
/** Nobody asks WeChat in these worlds. */
const API_ONLY = { ROLES: 'api' }

t.test(
  'an order keeps its record where WeChat refuses one call and makes the other, whichever api they name',
  async (t) => {
    const { app, pay } = await buildPay(t, { env: API_ONLY })
    pay.fault({ api: 'unifiedorder', errcode: 'NOAUTH', processed: false, delayMs: 300 })
    const first = call(app, 'orders', { ...ORDER, api: 'v2' })
    while (pay.calls().length === 0) await app.redis.ping()
    t.equal((await call(app, 'orders', ORDER)).statusCode, 200)
    refused(t, await first, 500, 'WECHAT_CONFIG_INVALID')
    refused(t, await call(app, 'orders', { ...ORDER, amount: 89 }), 422, 'PAY_REJECTED', { message: /ordered before/ })
  }
)

t.test('a refund keeps its record likewise, in whatever order its fields are written', async (t) => {
  const world = await buildPay(t, { env: API_ONLY })
  const { app, pay } = world
  await paidOrder(world)
  pay.fault({ api: 'v3_refund', errcode: 'NOT_ENOUGH', httpStatus: 403, delayMs: 300 })
  const first = call(app, 'refunds', REFUND)
  while (!pay.calls().some(({ api }) => api === 'v3_refund')) await app.redis.ping()
  t.equal((await call(app, 'refunds', Object.fromEntries(Object.entries(REFUND).reverse()))).statusCode, 200)
  refused(t, await first, 422, 'PAY_REJECTED')
  refused(t, await call(app, 'refunds', { ...REFUND, amount: 31 }), 422, 'PAY_REJECTED', { message: /used before/ })
  t.equal(pay.order(NUMBER).refunds.length, 1)
})

t.test('what is asked for again is known for as long as something new, and asked about as soon', async (t) => {
  let nowMs = Date.parse('2025-01-01T00:00:00Z')
  const world = await buildPay(t, { env: API_ONLY, now: () => nowMs })
  const { app } = world
  const { redis, keys } = app
  await paidOrder(world)
  await call(app, 'refunds', REFUND)
  for (const [path, request, record, entry, pauseMs] of [
    ['orders', ORDER, keys.order(MCHID, NUMBER), `order ${MCHID} ${NUMBER}`, 30_000],
    ['refunds', REFUND, keys.refund(MCHID, REFUND.outRefundNo), `refund ${MCHID} ${REFUND.outRefundNo}`, 60_000]
  ] as const) {
    await redis.expire(record, 1000)
    await redis.zadd(keys.watched, nowMs + DAY_MS / 2, entry)
    nowMs += HOUR_MS
    await call(app, path, request)
    t.equal(Number(await redis.zscore(keys.watched, entry)), nowMs + pauseMs)
    t.equal(JSON.parse((await redis.get(record))?.slice(1) ?? '').createdAt, nowMs / 1000)
    t.ok((await redis.pttl(record)) > 39 * DAY_MS)
  }
})

t.test('an order that may be paid for long is known until long after', async (t) => {
  const { app } = await buildPay(t, { env: API_ONLY })
  const timeExpire = new Date(Date.now() + 60 * DAY_MS).toISOString()
  await call(app, 'orders', { ...ORDER, timeExpire })
  t.ok((await app.redis.pttl(app.keys.order(MCHID, NUMBER))) > 92 * DAY_MS)
})
