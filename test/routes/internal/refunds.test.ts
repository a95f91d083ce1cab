/** /internal/pay/refunds: one refund for each number, whatever happens on the way, and no step back. */
import t from 'tap'
import { API_KEY, APPID, MCHID } from '../../helper.ts'
import { ask } from './backend.ts'
import { NO_AMOUNTS, NO_JSON, spelled } from './numbers.ts'
import { ORDER, refused } from './order.ts'
import { buildPay, call, OTHER_MCHID, paidOrder } from './pay-world.ts'

const REFUND = { outTradeNo: ORDER.outTradeNo, outRefundNo: 'R20250101@1', amount: 30, total: 88, reason: '缺货' }
const find = (query = '') => `refunds/${encodeURIComponent(REFUND.outRefundNo)}${query}`

interface Later {
  of: 'query' | 'refund'
  says: { errcode: string; httpStatus?: number; processed?: boolean }
}

/**
 * What WeChat answers after it made the refund and its first answer was lost: to the query, or to the query and the
 * second call.
 */
const LATER: Record<'v2' | 'v3', Later[][]> = {
  v2: [
    [{ of: 'query', says: { errcode: 'SOMETHING_NEW' } }],
    [{ of: 'query', says: { errcode: 'SIGNERROR' } }],
    [{ of: 'query', says: { errcode: 'PARAM_ERROR' } }],
    [
      { of: 'query', says: { errcode: 'REFUNDNOTEXIST' } },
      { of: 'refund', says: { errcode: 'NOTENOUGH' } }
    ]
  ],
  v3: [
    [{ of: 'query', says: { errcode: 'PARAM_ERROR', httpStatus: 400 } }],
    [{ of: 'query', says: { errcode: 'RULE_LIMIT', httpStatus: 403 } }],
    [{ of: 'query', says: { errcode: 'SIGN_ERROR', httpStatus: 401 } }],
    [
      { of: 'query', says: { errcode: 'RESOURCE_NOT_EXISTS', httpStatus: 404 } },
      { of: 'refund', says: { errcode: 'NOT_ENOUGH', httpStatus: 403 } }
    ]
  ]
}

for (const api of ['v2', 'v3'] as const) {
  const apiOfFault = api === 'v2' ? ('refund' as const) : ('v3_refund' as const)

  t.test(`POST a refund by ${api}, again, and GET it: the same one`, async (t) => {
    const world = await buildPay(t)
    const { app, another, pay } = world
    const { transactionId } = await paidOrder(world, { api })
    const first = await call(app, 'refunds', REFUND)
    t.equal(first.statusCode, 200, first.body)
    const { refundId, ...rest } = first.json()
    const { outTradeNo, outRefundNo } = REFUND
    t.same(rest, { outRefundNo, outTradeNo, transactionId, state: 'PROCESSING', amount: { total: 88, refund: 30 } })
    t.same((await call(await another(), 'refunds', REFUND)).json(), first.json())
    t.same((await call(app, find())).json(), first.json())
    t.match(pay.order(outTradeNo).refunds, [{ outRefundNo, refundFen: 30 }])

    await pay.refund({ outRefundNo, times: 0 })
    const done = (await call(app, find())).json()
    t.match(done, { refundId, state: 'SUCCESS', successTime: /Z$/ })
    t.equal((await call(app, 'refunds', REFUND)).json().state, 'SUCCESS', 'a late answer undoes nothing')
  })

  t.test(`GET a refund by ${api} believes no answer that contradicts our record`, async (t) => {
    const world = await buildPay(t, { env: { ROLES: 'api' } })
    const { app, pay } = world
    await paidOrder(world, { api })
    await call(app, 'refunds', REFUND)
    for (const [name, field, fen] of [
      ['refund', 'refund_fee_0', 29],
      ['total', 'total_fee', 87]
    ] as const) {
      const overrides = api === 'v2' ? { [field]: String(fen) } : { amount: { [name]: fen } }
      pay.fault({ api: api === 'v2' ? 'refundquery' : 'v3_refund_query', overrides })
      refused(t, await call(app, find()), 502, 'WECHAT_BAD_RESPONSE', { message: /contradicts our record/ })
    }
    t.equal((await call(app, find())).statusCode, 200)
  })

  t.test(`POST a refund by ${api} with other content under its number is refused here`, async (t) => {
    const world = await buildPay(t)
    const { app, pay } = world
    await paidOrder(world, { api })
    await paidOrder(world, { api, outTradeNo: 'ANOTHER_1' })
    await call(app, 'refunds', REFUND)
    pay.clearCalls()
    for (const change of [{ amount: 31 }, { outTradeNo: 'ANOTHER_1' }, { reason: 'x' }])
      refused(t, await call(app, 'refunds', { ...REFUND, ...change }), 422, 'PAY_REJECTED', { message: /used before/ })
    t.same(pay.calls(), [])
  })

  t.test(`POST a refund by ${api}: two at once on two instances are one`, async (t) => {
    const world = await buildPay(t)
    const { app, another, pay } = world
    await paidOrder(world, { api })
    const second = await another()
    const answers = await Promise.all([app, second, app, second].map((each) => call(each, 'refunds', REFUND)))
    t.same(new Set(answers.map(({ body }) => body)).size, 1, answers.map(({ body }) => body).join('\n'))
    t.equal(pay.order(REFUND.outTradeNo).refunds.length, 1)
  })

  t.test(`POST a refund by ${api} that WeChat refuses frees its number`, async (t) => {
    const world = await buildPay(t)
    const { app } = world
    await call(app, 'orders', { ...ORDER, api })
    refused(t, await call(app, 'refunds', REFUND), 422, 'PAY_REJECTED', { wechat: { code: /./, message: /./ } })
    await paidOrder(world, { api })
    t.equal((await call(app, 'refunds', { ...REFUND, amount: 80 })).statusCode, 200)
    const above = { ...REFUND, outRefundNo: 'R2', amount: 9 }
    refused(t, await call(app, 'refunds', above), 422, 'PAY_REJECTED', { wechat: { code: /./ } })
    t.equal((await call(app, 'refunds', { ...above, amount: 8 })).statusCode, 200)
  })

  t.test(`POST a refund by ${api} whose answer is lost is made once`, async (t) => {
    const world = await buildPay(t)
    const { app, pay } = world
    await paidOrder(world, { api })
    pay.fault({ api: apiOfFault, reset: true })
    const answer = await call(app, 'refunds', REFUND)
    t.equal(answer.statusCode, 200, answer.body)
    t.equal(pay.order(REFUND.outTradeNo).refunds.length, 1)
  })

  t.test(`POST a refund by ${api} keeps its number while its fate is unclear`, async (t) => {
    const world = await buildPay(t)
    const { app, pay } = world
    await paidOrder(world, { api })
    const lost = { reset: true, times: 9 }
    pay.fault({ api: apiOfFault, ...lost })
    pay.fault({ api: api === 'v2' ? 'refundquery' : 'v3_refund_query', ...lost })
    refused(t, await call(app, 'refunds', REFUND), 502, 'WECHAT_UNREACHABLE')
    pay.clearFaults()
    refused(t, await call(app, 'refunds', { ...REFUND, amount: 31 }), 422, 'PAY_REJECTED')
    t.equal((await call(app, 'refunds', REFUND)).statusCode, 200)
    t.equal(pay.order(REFUND.outTradeNo).refunds.length, 1)
  })

  t.test(
    `POST a refund by ${api} that was made is never told as refused, whatever comes after its answer was lost`,
    async (t) => {
      const world = await buildPay(t, { env: { ROLES: 'api' } })
      const { app, pay } = world
      const query = api === 'v2' ? 'refundquery' : 'v3_refund_query'
      for (const [index, later] of LATER[api].entries()) {
        const outTradeNo = `LOST_${api}_${index}`
        const refund = { ...REFUND, outTradeNo, outRefundNo: outTradeNo }
        await paidOrder(world, { api, outTradeNo })
        pay.fault({ api: apiOfFault, reset: true, processed: true })
        for (const fault of later) pay.fault({ api: fault.of === 'query' ? query : apiOfFault, ...fault.says })
        const answer = await call(app, 'refunds', refund)
        t.ok(answer.statusCode >= 502, `${answer.statusCode} ${answer.body}`)
        t.match(answer.json(), { code: /^WECHAT_(UNREACHABLE|BUSY)$/ })
        pay.clearFaults()
        const another = await call(app, 'refunds', { ...refund, amount: 31 })
        refused(t, another, 422, 'PAY_REJECTED', { message: /used before/ })
        t.equal((await call(app, 'refunds', refund)).statusCode, 200)
        t.match(pay.order(outTradeNo).refunds, [{ outRefundNo: outTradeNo, refundFen: 30 }])
      }
    }
  )

  t.test(
    `POST a refund by ${api} that WeChat refuses in words nobody knows is queried, and found where it was made`,
    async (t) => {
      const world = await buildPay(t, { env: { ROLES: 'api' } })
      const { app, pay } = world
      await paidOrder(world, { api })
      const strange = { api: apiOfFault, errcode: 'SOMETHING_NEW', httpStatus: api === 'v2' ? 200 : 400 }
      pay.fault({ ...strange, processed: true })
      t.equal((await call(app, 'refunds', REFUND)).statusCode, 200)
      pay.fault({ ...strange, processed: false })
      refused(t, await call(app, 'refunds', { ...REFUND, outRefundNo: 'R2' }), 422, 'PAY_REJECTED', {
        wechat: { code: 'SOMETHING_NEW' }
      })
      t.match(
        await call(app, 'refunds', { ...REFUND, outRefundNo: 'R2', amount: 31 }),
        { statusCode: 200 },
        'it is free'
      )
    }
  )

  t.test(`POST a refund by ${api} of an order made elsewhere, by either of its numbers`, async (t) => {
    const { app, pay } = await buildPay(t, { both: true })
    const outTradeNo = 'ELSEWHERE_1'
    const placed = { appid: APPID, mchid: OTHER_MCHID, outTradeNo, totalFen: 88, notifyUrl: 'https://else.example/' }
    const { prepayId } = pay.place({ ...placed, api: api === 'v2' ? 'v2' : 'v3' })
    const { transactionId } = await pay.pay({ prepayId, times: 0 })
    refused(t, await call(app, 'refunds', { ...REFUND, outTradeNo }), 404, 'NOT_FOUND', { message: /mchid/ })
    const query = `?mchid=${OTHER_MCHID}&api=${api}`
    t.equal((await call(app, `refunds${query}`, { ...REFUND, outTradeNo })).statusCode, 200)
    const { outTradeNo: _, ...byTransaction } = { ...REFUND, outRefundNo: 'R2', transactionId }
    t.match((await call(app, `refunds${query}`, byTransaction)).json(), { outTradeNo, transactionId })
    t.equal((await call(app, find())).json().outTradeNo, outTradeNo, 'it is known here now')
  })
}

t.test('POST a refund that cannot be right is refused before WeChat is asked', async (t) => {
  const world = await buildPay(t)
  const { app, pay } = world
  await paidOrder(world)
  pay.clearCalls()
  for (const wrong of [0, -1, 1.5, '30', null, 2 ** 31]) {
    refused(t, await call(app, 'refunds', { ...REFUND, amount: wrong }), 400, 'FST_ERR_VALIDATION', {
      message: /amount/
    })
    refused(t, await call(app, 'refunds', { ...REFUND, total: wrong }), 400, 'FST_ERR_VALIDATION', { message: /total/ })
  }
  for (const change of [
    { outRefundNo: '' },
    { outRefundNo: 'x'.repeat(65) },
    { outRefundNo: 'has space' },
    { outTradeNo: undefined },
    { transactionId: '4200000000000000000000000001' },
    { reason: '🍵' },
    { reason: 'x'.repeat(81) },
    { notify_url: 'https://elsewhere.example' }
  ])
    refused(t, await call(app, 'refunds', { ...REFUND, ...change }), 400, 'FST_ERR_VALIDATION')
  refused(t, await call(app, 'refunds', { ...REFUND, amount: 89 }), 422, 'PAY_REJECTED', { message: /more than total/ })
  refused(t, await call(app, 'refunds', { ...REFUND, total: 89 }), 422, 'PAY_REJECTED', {
    message: /amount of the order/
  })
  t.same(pay.calls(), [])
})

t.test('POST a refund takes whole fen only, however the number is written', async (t) => {
  const world = await buildPay(t)
  const { app, pay } = world
  await paidOrder(world)
  pay.clearCalls()
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${API_KEY}` }
  const post = (name: string, text?: string) =>
    ask(app, { method: 'POST', url: '/internal/pay/refunds', headers, payload: spelled(REFUND, name, text) })
  for (const name of ['amount', 'total']) {
    for (const text of [...NO_AMOUNTS, undefined])
      refused(t, await post(name, text), 400, 'FST_ERR_VALIDATION', { message: new RegExp(name) })
    for (const text of NO_JSON) refused(t, await post(name, text), 400, 'FST_ERR_CTP_INVALID_JSON_BODY')
  }
  t.same(pay.calls(), [])
  for (const text of ['30', '30.0', '3e1']) t.equal((await post('amount', text)).json().amount.refund, 30)
  t.match(pay.order(ORDER.outTradeNo).refunds, [{ refundFen: 30 }])
})

for (const api of ['v2', 'v3']) {
  t.test(
    `POST a refund by ${api} above what was paid is refused, here and by WeChat, and nothing is given back`,
    async (t) => {
      const world = await buildPay(t)
      const { app, pay } = world
      const { transactionId } = await paidOrder(world, { api })
      const { outTradeNo: _, ...request } = { ...REFUND, transactionId }
      for (const change of [{ amount: 89 }, { amount: 89, total: 89 }, { total: 89 }])
        refused(t, await call(app, 'refunds', { ...REFUND, ...change }), 422, 'PAY_REJECTED')
      t.same(
        pay.calls().filter(({ api: name }) => name.includes('refund')),
        []
      )
      // By this number the gateway does not know the order, and so not its amount.
      for (const change of [{ amount: 89, total: 89 }, { total: 87 }])
        refused(t, await call(app, `refunds?api=${api}`, { ...request, ...change }), 422, 'PAY_REJECTED', {
          wechat: { code: /./ }
        })
      t.same(pay.order(ORDER.outTradeNo).refunds, [])
    }
  )
}

t.test('a refund that nobody knows is NOT_FOUND', async (t) => {
  const { app } = await buildPay(t)
  for (const query of ['', '?api=v2', '?api=v3', `?mchid=${MCHID}`])
    refused(t, await call(app, find(query)), 404, 'NOT_FOUND', { message: /knows no such refund/ })
  refused(t, await call(app, find('?mchid=1900000999')), 400, 'APP_UNKNOWN')
  refused(t, await call(app, 'refunds', REFUND), 404, 'NOT_FOUND', { message: /knows no such order/ })
  refused(t, await call(app, 'refunds?api=v2', { ...REFUND, outRefundNo: 'R2' }), 404, 'NOT_FOUND')
})

t.test('GET a refund never says less than before', async (t) => {
  const world = await buildPay(t)
  const { app, pay } = world
  await paidOrder(world)
  await call(app, 'refunds', REFUND)
  const { outRefundNo } = REFUND
  await pay.refund({ outRefundNo, times: 0, status: 'ABNORMAL' })
  t.equal((await call(app, find())).json().state, 'ABNORMAL')
  pay.fault({ api: 'v3_refund_query', overrides: { status: 'PROCESSING' } })
  t.equal((await call(app, find())).json().state, 'ABNORMAL')
  await pay.refund({ outRefundNo, times: 0 })
  t.equal((await call(app, find())).json().state, 'SUCCESS')
  for (const late of ['ABNORMAL', 'CLOSED']) {
    pay.fault({ api: 'v3_refund_query', overrides: { status: late } })
    t.equal((await call(app, find())).json().state, 'SUCCESS', late)
  }
})
