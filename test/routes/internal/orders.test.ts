/** POST /internal/pay/orders: what it answers, what it sends to WeChat, and what it keeps when something fails. */
import { createHmac } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { API_KEY, APPID, build, MCHID, OTHER_APPID } from '../../helper.ts'
import { ask } from './backend.ts'
import { NO_AMOUNTS, NO_JSON, spelled } from './numbers.ts'
import { ORDER, order, refused } from './order.ts'
import { fakeUpstream } from './upstream.ts'

t.test('POST orders answers exactly what wx.requestPayment needs, signed as WeChat checks it', async (t) => {
  const { app, sandbox, secrets } = await build(t)
  const answer = await order(app, { attach: 'a<b&c', timeExpire: '2099-01-01T08:30:00+08:00' })
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  const { prepayId, payParams, ...rest } = answer.json()
  t.same(rest, {})
  t.same(Object.keys(payParams).sort(), ['nonceStr', 'package', 'paySign', 'signType', 'timeStamp'])
  t.match(payParams, { signType: 'HMAC-SHA256', package: `prepay_id=${prepayId}`, nonceStr: /^[0-9a-f]{32}$/ })
  t.ok(Math.abs(Number(payParams.timeStamp) - Date.now() / 1000) < 5)

  const { timeStamp, nonceStr, package: what, signType, paySign } = payParams
  const text = `appId=${APPID}&nonceStr=${nonceStr}&package=${what}&signType=${signType}&timeStamp=${timeStamp}`
  const expected = createHmac('sha256', secrets.apiV2Key).update(`${text}&key=${secrets.apiV2Key}`).digest('hex')
  t.equal(paySign, expected.toUpperCase())

  t.match(sandbox.order(ORDER.outTradeNo), {
    appid: APPID,
    mchid: MCHID,
    openid: ORDER.openid,
    totalFen: 88,
    currency: 'CNY',
    description: ORDER.description,
    attach: 'a<b&c',
    signType: 'HMAC-SHA256',
    notifyUrl: `https://wx.example.test/wechat/pay/v2/${MCHID}/notify`,
    state: 'NOTPAY',
    prepayId
  })
})

t.test('POST orders again is the same order; other content under its number is refused here', async (t) => {
  const { app, sandbox, another } = await build(t)
  const first = await order(app)
  const again = await order(await another())
  t.equal(again.json().prepayId, first.json().prepayId)
  t.not(again.json().payParams.nonceStr, first.json().payParams.nonceStr)
  sandbox.clearCalls()
  for (const change of [
    { amount: 89 },
    { description: 'tea' },
    { openid: 'another' },
    { attach: 'x' },
    { timeExpire: '2099-01-01T00:00:00Z' }
  ])
    refused(t, await order(app, change), 422, 'PAY_REJECTED')
  t.same(sandbox.calls(), [])
})

t.test('POST orders knows an instant however it is written', async (t) => {
  const { app } = await build(t)
  const first = await order(app, { timeExpire: '2099-01-01T08:30:00+08:00' })
  const again = await order(app, { timeExpire: '2099-01-01T00:30:00.000Z' })
  t.equal(again.statusCode, 200)
  t.equal(again.json().prepayId, first.json().prepayId)
})

t.test('POST orders records the order before WeChat is asked: a notice may outrun the answer', async (t) => {
  const { app, sandbox, backend } = await build(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const known = await order(app)
  sandbox.fault({ api: 'unifiedorder', reset: true })
  refused(t, await order(app, { outTradeNo: 'LOST_1' }), 502, 'WECHAT_UNREACHABLE')
  const prepayId = sandbox.order('LOST_1').prepayId ?? ''
  t.not(prepayId, known.json().prepayId)
  const notifyUrls = [`http://127.0.0.1:${port}/wechat/pay/v2/${MCHID}/notify`]
  const { notices } = await sandbox.pay({ prepayId, notifyUrls })
  t.match(notices, [{ status: 200 }])
  const { data } = await backend.waitFor(({ accepted }) => accepted)
  t.match(data, { outTradeNo: 'LOST_1', orderKnown: true, amount: { total: 88 } })
  const { notices: wrong } = await sandbox.pay({ prepayId, notifyUrls, overrides: { total_fee: 1 } })
  t.match(wrong, [{ status: 500 }])
})

t.test('POST orders passes on why WeChat refuses, and asks again only after SYSTEMERROR', async (t) => {
  const { app, sandbox } = await build(t)
  const cases = [
    ['ORDERPAID', 422, 'PAY_REJECTED'],
    ['NOTENOUGH', 422, 'PAY_REJECTED'],
    ['ORDERCLOSED', 422, 'PAY_REJECTED'],
    ['PARAM_ERROR', 422, 'PAY_REJECTED'],
    ['SOMETHING_NEW', 422, 'PAY_REJECTED'],
    ['APPID_MCHID_NOT_MATCH', 500, 'WECHAT_CONFIG_INVALID'],
    ['NOAUTH', 500, 'WECHAT_CONFIG_INVALID'],
    ['SIGNERROR', 500, 'WECHAT_CONFIG_INVALID']
  ] as const
  for (const [errcode, status, code] of cases) {
    sandbox.clearCalls()
    sandbox.fault({ api: 'unifiedorder', errcode, errmsg: '原因' })
    const answer = await order(app, { outTradeNo: `T_${errcode}` })
    refused(t, answer, status, code, { wechat: { code: errcode, message: '原因' } })
    t.equal(sandbox.calls().length, 1, errcode)
  }
  t.equal(cases.length, 8)

  sandbox.clearCalls()
  sandbox.fault({ api: 'unifiedorder', errcode: 'SYSTEMERROR' })
  t.equal((await order(app, { outTradeNo: 'T_ONCE' })).statusCode, 200)
  t.equal(sandbox.calls().length, 2)
  sandbox.fault({ api: 'unifiedorder', errcode: 'SYSTEMERROR', times: 2 })
  const busy = await order(app, { outTradeNo: 'T_TWICE' })
  refused(t, busy, 503, 'WECHAT_BUSY', { wechat: { code: 'SYSTEMERROR' } })
  t.ok(busy.headers['retry-after'])
  t.equal(sandbox.calls().length, 4)

  sandbox.fault({ api: 'unifiedorder', errmsg: '签名错误' })
  refused(t, await order(app, { outTradeNo: 'T_FAIL' }), 502, 'WECHAT_REJECTED', {
    wechat: { code: 'FAIL', message: '签名错误' }
  })
})

t.test('POST orders frees a number that WeChat certainly did not take, and no other', async (t) => {
  const { app, sandbox } = await build(t)
  const definite = [
    'NOTENOUGH',
    'PARAM_ERROR',
    'NOAUTH',
    'ORDERPAID',
    'ORDERCLOSED',
    'OUT_TRADE_NO_USED',
    'INVALID_REQUEST'
  ]
  for (const errcode of definite) {
    sandbox.fault({ api: 'unifiedorder', errcode })
    await order(app, { outTradeNo: `T_${errcode}`, amount: 1 })
    t.equal((await order(app, { outTradeNo: `T_${errcode}`, amount: 2 })).statusCode, 200, errcode)
  }
  for (const errcode of ['SYSTEMERROR', 'SOMETHING_NEW']) {
    sandbox.clearFaults()
    sandbox.fault({ api: 'unifiedorder', errcode, times: 2 })
    await order(app, { outTradeNo: `T_${errcode}`, amount: 1 })
    sandbox.clearFaults()
    refused(t, await order(app, { outTradeNo: `T_${errcode}`, amount: 2 }), 422, 'PAY_REJECTED')
    t.equal((await order(app, { outTradeNo: `T_${errcode}`, amount: 1 })).statusCode, 200, errcode)
  }
})

t.test('POST orders keeps the record where the first of two tries may have made the order', async (t) => {
  const { app, sandbox } = await build(t)
  for (const errcode of ['SYSTEMERROR', 'NOTENOUGH']) sandbox.fault({ api: 'unifiedorder', errcode })
  refused(t, await order(app, { amount: 1 }), 422, 'PAY_REJECTED')
  refused(t, await order(app, { amount: 2 }), 422, 'PAY_REJECTED', { message: /ordered before/ })
})

t.test('POST orders frees the number also where a call with other content was refused meanwhile', async (t) => {
  const upstream = await fakeUpstream(t)
  const { app } = await build(t, { env: { WECHAT_PAY_ORIGIN: upstream.origin, WECHAT_PAY_API_V2_KEY: upstream.key } })
  upstream.answer(upstream.signed({ result_code: 'FAIL', err_code: 'NOTENOUGH', prepay_id: '' }), upstream.signed())
  const statuses = (await Promise.all([order(app, { amount: 1 }), order(app, { amount: 2 })])).map(
    (each) => each.statusCode
  )
  t.same(statuses, [422, 422])
  t.equal((await order(app, { amount: 2 })).statusCode, 200)
})

t.test('POST orders keeps the record where a second call for the same order came meanwhile', async (t) => {
  const upstream = await fakeUpstream(t)
  const { app } = await build(t, { env: { WECHAT_PAY_ORIGIN: upstream.origin, WECHAT_PAY_API_V2_KEY: upstream.key } })
  upstream.answer(upstream.signed({ result_code: 'FAIL', err_code: 'NOTENOUGH', prepay_id: '' }), upstream.signed())
  const statuses = (await Promise.all([order(app), order(app)])).map(({ statusCode }) => statusCode)
  t.same(statuses.sort(), [200, 422])
  refused(t, await order(app, { amount: 89 }), 422, 'PAY_REJECTED', { message: /ordered before/ })
})

t.test('POST orders believes nothing that WeChat did not sign for this merchant and app', async (t) => {
  const upstream = await fakeUpstream(t)
  const { app } = await build(t, { env: { WECHAT_PAY_ORIGIN: upstream.origin, WECHAT_PAY_API_V2_KEY: upstream.key } })
  const good = upstream.signed()
  const bad = {
    unsigned: good.replace(/<sign>.*<\/sign>/, ''),
    'changed on the way': good.replace('wx0108', 'wx0109'),
    'for another merchant': upstream.signed({ mch_id: '1900000110' }),
    'for another app': upstream.signed({ appid: OTHER_APPID }),
    'without a prepay_id': upstream.signed({ prepay_id: '' }),
    'a refusal without a reason': upstream.signed({ result_code: 'FAIL' }),
    'unsigned refusal of the order':
      '<xml><return_code>SUCCESS</return_code><result_code>FAIL</result_code><err_code>NOTENOUGH</err_code></xml>',
    'with a DOCTYPE': `<!DOCTYPE xml>${good}`,
    HTML: '<!DOCTYPE html><html></html>',
    empty: ''
  }
  for (const [name, body] of Object.entries(bad)) {
    upstream.answer(body)
    refused(t, await order(app), 502, 'WECHAT_BAD_RESPONSE', { message: /./ })
    t.equal(upstream.asked.length, 1, `${name}: asked once`)
    upstream.asked.length = 0
  }
  t.equal(Object.keys(bad).length, 10)
  upstream.answer(good)
  t.equal((await order(app)).json().prepayId, 'wx01080000000000a1b2c3d4e5f6a7b80000')
})

t.test('POST orders says WECHAT_TIMEOUT when WeChat is late; the same call is safe then', async (t) => {
  const { app, sandbox } = await build(t, { env: { WECHAT_TIMEOUT_MS: '1000' } })
  sandbox.fault({ api: 'unifiedorder', delayMs: 60_000 })
  refused(t, await order(app), 504, 'WECHAT_TIMEOUT')
  const made = sandbox.order(ORDER.outTradeNo)
  refused(t, await order(app, { amount: 89 }), 422, 'PAY_REJECTED')
  t.equal((await order(app)).json().prepayId, made.prepayId)
})

t.test('POST orders takes nothing that WeChat could misread', async (t) => {
  const { app, sandbox } = await build(t)
  const wrong: object[] = [
    ...[0, -1, 1.5, '88', 2 ** 31, null, 1e300].map((amount) => ({ amount })),
    ...['short', 'x'.repeat(33), 'has space', 'Ünïcode', ''].map((outTradeNo) => ({ outTradeNo })),
    ...['tea 🍵', '', 'x'.repeat(128), 'a\u0000b'].map((description) => ({ description })),
    ...['🍵', '', 'x'.repeat(128)].map((attach) => ({ attach })),
    ...[
      '2099-01-01',
      '2099-01-01T00:00:00',
      '2099-01-01 00:00:00Z',
      '2099-02-30T00:00:00Z',
      '2099-01-01T00:00:00+0800',
      '2099-01-01T00:00:00+24:00',
      '2099-01-01T00:00:60Z',
      'soon'
    ].map((timeExpire) => ({ timeExpire })),
    { openid: undefined },
    { openid: 'no spaces' },
    { appid: 'wx1' },
    { mchid: 'x' },
    { api: 'v1' },
    { total: 88 },
    { notify_url: 'https://elsewhere.example' }
  ]
  for (const change of wrong) refused(t, await order(app, change), 400, 'FST_ERR_VALIDATION')
  t.equal(wrong.length, 34)
  t.same(sandbox.calls(), [])
  t.same(await app.redis.keys(`${app.keys.order(MCHID, '*').split('{')[0]}*`), [], 'no number was used up')
  t.equal(
    (await order(app, { amount: 2 ** 31 - 1, outTradeNo: 'Az9_|-*' })).statusCode,
    422,
    'the sandbox, not the schema'
  )
  refused(t, await order(app, { api: 'v3' }), 422, 'PAY_REJECTED')
})

t.test('POST orders takes whole fen only, however the number is written', async (t) => {
  const { app, sandbox } = await build(t)
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${API_KEY}` }
  const amount = (text?: string) =>
    ask(app, { method: 'POST', url: '/internal/pay/orders', headers, payload: spelled(ORDER, 'amount', text) })
  for (const text of [...NO_AMOUNTS, undefined])
    refused(t, await amount(text), 400, 'FST_ERR_VALIDATION', { message: /amount/ })
  for (const text of NO_JSON) refused(t, await amount(text), 400, 'FST_ERR_CTP_INVALID_JSON_BODY')
  t.same(sandbox.calls(), [])
  const answers = [await amount('88'), await amount('88.0'), await amount('8.8e1')]
  t.same(new Set(answers.map((answer) => answer.json().prepayId)), new Set([sandbox.order(ORDER.outTradeNo).prepayId]))
  t.equal(sandbox.order(ORDER.outTradeNo).totalFen, 88)
})
