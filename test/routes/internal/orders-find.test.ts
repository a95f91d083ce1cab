/** GET and close of /internal/pay/orders: one shape for both APIs, the right merchant, and no step back. */
import t from 'tap'
import { APPID, MCHID } from '../../helper.ts'
import { ask, KEY } from './backend.ts'
import { ORDER, refused } from './order.ts'
import { buildPay, call, OTHER_MCHID, paidOrder } from './pay-world.ts'

const NUMBER = ORDER.outTradeNo
const find = (number = NUMBER, query = '') => `orders/${encodeURIComponent(number)}${query}`

t.test('POST orders goes by v3 where its keys are configured, and by v2 where that is asked for', async (t) => {
  const { app, pay } = await buildPay(t)
  const v3 = await call(app, 'orders', ORDER)
  t.match(v3.json(), { prepayId: /./, payParams: { signType: 'RSA', package: `prepay_id=${v3.json().prepayId}` } })
  t.match(pay.order(NUMBER), { api: 'v3', notifyUrl: `https://wx.example.test/wechat/pay/v3/${MCHID}/notify` })
  const v2 = await call(app, 'orders', { ...ORDER, outTradeNo: 'BY_V2_1', api: 'v2' })
  t.match(v2.json(), { payParams: { signType: 'HMAC-SHA256' } })
  t.equal(pay.order('BY_V2_1').api, 'v2')
})

t.test('POST orders again leaves the api as it was, unless it says another', async (t) => {
  const { app, pay } = await buildPay(t)
  await call(app, 'orders', { ...ORDER, api: 'v2' })
  t.equal((await call(app, 'orders', ORDER)).statusCode, 200)
  t.equal(pay.order(NUMBER).api, 'v2')
  refused(t, await call(app, 'orders', { ...ORDER, api: 'v3' }), 422, 'PAY_REJECTED', { message: /ordered before/ })
})

for (const api of ['v2', 'v3']) {
  t.test(`GET an order by ${api}: unpaid, then paid`, async (t) => {
    const world = await buildPay(t)
    const { app, pay } = world
    const { prepayId } = (await call(app, 'orders', { ...ORDER, api, attach: 'a&b' })).json()
    const known = { api, appid: APPID, mchid: MCHID, outTradeNo: NUMBER, openid: ORDER.openid, attach: 'a&b' }
    const unpaid = await call(app, find())
    t.equal(unpaid.headers['cache-control'], 'no-store')
    t.same(unpaid.json(), { ...known, state: 'NOTPAY', amount: { total: 88, currency: 'CNY' } })

    const { transactionId } = await pay.pay({ prepayId, times: 0 })
    const { successTime, ...paid } = (await call(app, find())).json()
    t.same(paid, { ...known, transactionId, state: 'SUCCESS', amount: { total: 88, payerTotal: 88, currency: 'CNY' } })
    t.match(successTime, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/)
  })

  t.test(`GET an order by ${api} never says less than before`, async (t) => {
    const world = await buildPay(t)
    const { app, pay } = world
    await paidOrder(world, { api })
    const refund = { outTradeNo: NUMBER, outRefundNo: 'R1', amount: 8, total: 88 }
    t.equal((await call(app, 'refunds', refund)).statusCode, 200)
    t.equal((await call(app, find())).json().state, 'REFUND')
    for (const late of ['SUCCESS', 'NOTPAY']) {
      pay.fault({ api: api === 'v2' ? 'orderquery' : 'v3_query', overrides: { trade_state: late } })
      t.equal((await call(app, find())).json().state, 'REFUND', late)
    }
  })

  t.test(`GET an order by ${api} believes no answer that contradicts our record`, async (t) => {
    const world = await buildPay(t, { env: { ROLES: 'api' } })
    const { app, pay } = world
    await paidOrder(world, { api })
    const paid = api === 'v2' ? { total_fee: '1' } : { amount: { total: 1 } }
    const wrongs = [paid, api === 'v2' ? { fee_type: 'USD' } : { amount: { currency: 'USD' } }]
    for (const overrides of wrongs) {
      pay.fault({ api: api === 'v2' ? 'orderquery' : 'v3_query', overrides })
      refused(t, await call(app, find()), 502, 'WECHAT_BAD_RESPONSE', { message: /contradicts our record/ })
    }
    pay.fault({ api: api === 'v2' ? 'orderquery' : 'v3_query', overrides: { appid: 'wxfedcba9876543210' } })
    refused(t, await call(app, find()), 502, 'WECHAT_BAD_RESPONSE')
    t.equal(await app.redis.exists(app.keys.orderState(MCHID, NUMBER)), 0, 'nothing was noted')
    t.equal((await call(app, find())).json().state, 'SUCCESS')
    await app.close()
    t.match(world.logs(), /contradicts our record: amount-mismatch/)
  })

  t.test(`POST close by ${api}: closed, closed again, and never what is paid`, async (t) => {
    const world = await buildPay(t)
    const { app } = world
    await call(app, 'orders', { ...ORDER, api })
    for (const headers of [{}, { 'content-type': 'application/json' }]) {
      const url = `/internal/pay/${find()}/close`
      const bare = await app.inject({ method: 'POST', url, headers: { ...KEY, ...headers } })
      t.equal(bare.statusCode, 204, bare.body)
      t.equal(bare.body, '')
    }
    t.equal((await call(app, `${find()}/close`, {})).statusCode, 204)
    t.equal((await call(app, find())).json().state, 'CLOSED')
    await paidOrder(world, { api, outTradeNo: 'PAID_1' })
    const paid = await call(app, `${find('PAID_1')}/close`, {})
    refused(t, paid, 422, 'PAY_REJECTED', { message: /already paid/, wechat: { code: /./ } })
    t.equal((await call(app, find('PAID_1'))).json().state, 'SUCCESS')
  })

  t.test(`GET an order of another system by ${api}`, async (t) => {
    const { app, pay } = await buildPay(t, { both: true })
    const foreign = {
      api,
      appid: APPID,
      mchid: OTHER_MCHID,
      totalFen: 5,
      notifyUrl: 'https://elsewhere.example/'
    } as const
    pay.place({ ...foreign, api: api === 'v2' ? 'v2' : 'v3', outTradeNo: 'A|B*C-_1' })
    const found = await call(app, find('A|B*C-_1', `?mchid=${OTHER_MCHID}&api=${api}`))
    t.match(found.json(), { api, mchid: OTHER_MCHID, outTradeNo: 'A|B*C-_1', state: 'NOTPAY' })
    refused(t, await call(app, find('A|B*C-_1')), 404, 'NOT_FOUND', { message: /mchid/ })
    refused(t, await call(app, find('A|B*C-_1', `?mchid=${MCHID}`)), 404, 'NOT_FOUND')
    t.equal((await call(app, `${find('A|B*C-_1')}/close?mchid=${OTHER_MCHID}`, {})).statusCode, 204)
  })

  t.test(`two equal orders at once on two instances by ${api} are one`, async (t) => {
    const { app, another, pay } = await buildPay(t)
    const second = await another()
    const answers = await Promise.all([app, second, app, second].map((each) => call(each, 'orders', { ...ORDER, api })))
    t.same(
      answers.map(({ statusCode }) => statusCode),
      [200, 200, 200, 200]
    )
    await pay.pay({ prepayId: answers[3]?.json().prepayId, times: 0 })
    t.equal((await call(second, find())).json().state, 'SUCCESS')
  })
}

t.test('GET an order: whose it is', async (t) => {
  const { app } = await buildPay(t, { both: true })
  refused(t, await call(app, 'orders', ORDER), 400, 'APP_UNKNOWN', { message: /mchid/ })
  await call(app, 'orders', { ...ORDER, mchid: OTHER_MCHID })
  t.equal((await call(app, find())).json().mchid, OTHER_MCHID)
  await call(app, 'orders', { ...ORDER, mchid: MCHID })
  refused(t, await call(app, find()), 400, 'APP_UNKNOWN', { message: /Several/ })
  t.equal((await call(app, find(NUMBER, `?mchid=${MCHID}`))).json().mchid, MCHID)
  refused(t, await call(app, find(NUMBER, '?mchid=1900000999')), 400, 'APP_UNKNOWN')
})

t.test('GET an order that nobody knows is NOT_FOUND; one that WeChat has not yet is unpaid', async (t) => {
  const { app, pay } = await buildPay(t)
  for (const query of ['', '?api=v2', '?api=v3'])
    refused(t, await call(app, find(NUMBER, query)), 404, 'NOT_FOUND', { message: /knows no such order/ })
  refused(t, await call(app, `${find()}/close`, {}), 404, 'NOT_FOUND')
  pay.fault({ api: 'v3_prepay', reset: true, processed: false, times: 3 })
  refused(t, await call(app, 'orders', ORDER), 502, 'WECHAT_UNREACHABLE')
  t.match((await call(app, find())).json(), { api: 'v3', state: 'NOTPAY', amount: { total: 88 } })
})

t.test('GET and close take no other number, query or body than they should', async (t) => {
  const { app, pay } = await buildPay(t)
  for (const path of [
    find('short'),
    find('x'.repeat(33)),
    find('has space'),
    find(NUMBER, '?api=v4'),
    find(NUMBER, '?x=1')
  ])
    refused(t, await call(app, path), 400, 'FST_ERR_VALIDATION')
  refused(t, await call(app, `${find()}/close`, { force: true }), 400, 'FST_ERR_VALIDATION')
  refused(t, await ask(app, { url: `/internal/pay/${find()}`, headers: {} }), 401, 'TOKEN_MISSING')
  t.same(pay.calls(), [])
})

t.test('a WeChat that is late or away has a name, and changes nothing', async (t) => {
  const world = await buildPay(t, { env: { WECHAT_TIMEOUT_MS: '1000' } })
  const { app, pay } = world
  await paidOrder(world)
  pay.fault({ api: 'v3_query', delayMs: 60_000 })
  refused(t, await call(app, find()), 504, 'WECHAT_TIMEOUT')
  pay.fault({ api: 'v3_query', signature: 'wrong', times: 5 })
  refused(t, await call(app, find()), 502, 'WECHAT_BAD_RESPONSE')
  pay.clearFaults()
  t.equal((await call(app, find())).json().state, 'SUCCESS')
})
