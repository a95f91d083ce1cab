/** The endpoint for APIv3 callbacks: its answer to each kind, row by row of docs/wechat/pay.md E. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Orders, RefundRecords } from '../../../lib/pay/records.ts'
import { API_KEY, APPID, build, MCHID, OTHER_APPID } from '../../helper.ts'
import { order } from '../internal/order.ts'
import { type Forgeries, refusesAlike } from './faces.ts'
import { answeredBy, atOnce, counted, countedBy, keysOf, NO_WORKER, remember, tally } from './notices.ts'
import {
  answers,
  buildV3,
  envelope,
  eventsIn,
  keys,
  notify,
  payment,
  privateKeyOf,
  quarantined,
  refund,
  type Signed,
  seal,
  signed
} from './v3-notices.ts'

const idOf = ({ mchid, transaction_id }: { mchid: string; transaction_id: string }) => `pay_${mchid}_${transaction_id}`
const notice = (change: object = {}) => signed(envelope(payment(change)))
const refundNotice = (fields: object, eventType = 'REFUND.SUCCESS') => signed(envelope(fields, eventType))
const withHeaders = ({ headers, body }: Signed, change: Record<string, string | undefined>): Signed => ({
  body,
  headers: Object.fromEntries(
    Object.entries({ ...headers, ...change }).filter((pair): pair is [string, string] => pair[1] !== undefined)
  )
})

t.test('rows 1 and 2: a payment that fits is recorded once, and every repeat gets the same success', async (t) => {
  const world = await buildV3(t)
  const { app, backend, logs } = world
  await remember(app, { api: 'v3' })
  const fields = payment()
  answers(t, await notify(app, signed(envelope(fields))), 204)
  const event = await backend.waitFor(({ accepted }) => accepted)
  t.match(event, { id: idOf(fields), type: 'payment.succeeded', timestamp: '2025-01-01T00:01:05.000Z' })
  t.same(event.data, {
    api: 'v3',
    appid: APPID,
    mchid: MCHID,
    openid: fields.payer.openid,
    outTradeNo: fields.out_trade_no,
    transactionId: fields.transaction_id,
    amount: { total: 100, payerTotal: 88, currency: 'CNY' },
    successTime: '2025-01-01T00:01:05.000Z',
    attach: 'from-the-payer',
    bankType: 'OTHERS',
    orderKnown: true,
    raw: fields
  })
  // Another id, seal, time and signature each time.
  for (const _ of [1, 2, 3]) answers(t, await notify(app, signed(envelope(fields))), 204)
  t.equal((await eventsIn(app)).length, 1)
  await counted(t, world, { 'pay-v3 recorded ': 1, 'pay-v3 duplicate ': 3 })
  for (const secret of [fields.payer.openid, 'from-the-payer', keys.apiV3Key]) t.notMatch(logs(), secret)
})

t.test('rows 1 and 2: a refund that fits is recorded once under its number and state', async (t) => {
  const world = await buildV3(t)
  const { app, backend } = world
  await remember(app, { api: 'v3' })
  const fields = refund()
  answers(t, await notify(app, refundNotice(fields)), 204)
  const event = await backend.waitFor(({ accepted }) => accepted)
  const id = `refund_${MCHID}_${fields.refund_id}_SUCCESS`
  t.match(event, { id, type: 'refund.succeeded', timestamp: '2025-01-02T00:00:00.000Z' })
  t.same(event.data, {
    api: 'v3',
    mchid: MCHID,
    outTradeNo: fields.out_trade_no,
    transactionId: fields.transaction_id,
    outRefundNo: fields.out_refund_no,
    refundId: fields.refund_id,
    amount: { total: 100, refund: 40 },
    successTime: '2025-01-02T00:00:00.000Z',
    raw: fields
  })
  answers(t, await notify(app, refundNotice(fields)), 204)
  t.equal((await eventsIn(app)).length, 1)
  await counted(t, world, { 'pay-v3 recorded ': 1, 'pay-v3 duplicate ': 1 })
})

t.test('row 3: fifty callbacks of one payment at once, over two instances, are one event', async (t) => {
  const { app, another } = await buildV3(t, { env: NO_WORKER })
  const both = [app, await another()] as const
  const fields = payment()
  const all = await atOnce(50, both, (each) => notify(each, signed(envelope(fields))))
  for (const answer of all) answers(t, answer, 204)
  t.same(
    (await eventsIn(app)).map(({ id }) => id),
    [idOf(fields)]
  )
  t.same(await countedBy(both), { 'pay-v3 recorded ': 1, 'pay-v3 duplicate ': 49 })
})

t.test('rows 4, 5, 6, 7, 10 and 29: whoever cannot sign is shown one face, and leaves nothing behind', async (t) => {
  const nowMs = Date.now()
  const world = await buildV3(t, { mode: 'public-key', env: NO_WORKER, now: () => nowMs })
  const { app, pay, logs } = world
  const timestamp = Math.floor(nowMs / 1000)
  const sign = (body: string | Buffer, signing = {}) => signed(body, { timestamp, ...signing })
  const good = sign(envelope(payment()))
  const { 'wechatpay-signature': signature = '' } = good.headers
  const forgeries: Forgeries<Signed> = {
    'signed by a stranger': ['signature', sign(envelope(payment()), { key: privateKeyOf('stranger') })],
    'signed by the merchant': ['signature', sign(envelope(payment()), { key: privateKeyOf('merchant') })],
    'amount changed after signing': ['signature', { ...good, body: `${good.body} ` }],
    'another timestamp': ['signature', withHeaders(good, { 'wechatpay-timestamp': String(timestamp - 1) })],
    'another nonce': ['signature', withHeaders(good, { 'wechatpay-nonce': 'x' })],
    'no signature': ['header', withHeaders(good, { 'wechatpay-signature': undefined })],
    'no timestamp': ['header', withHeaders(good, { 'wechatpay-timestamp': undefined })],
    'no nonce': ['header', withHeaders(good, { 'wechatpay-nonce': undefined })],
    'no serial': ['header', withHeaders(good, { 'wechatpay-serial': undefined })],
    'empty signature': ['header', withHeaders(good, { 'wechatpay-signature': '' })],
    'signature in other base64': [
      'signature',
      withHeaders(good, { 'wechatpay-signature': signature.replace(/=+$/, '') })
    ],
    probe: ['probe', withHeaders(good, { 'wechatpay-signature': `WECHATPAY/SIGNTEST/${signature}` })],
    '300 s old': ['timestamp', sign(envelope(payment()), { timestamp: timestamp - 300 })],
    '301 s ahead': ['timestamp', sign(envelope(payment()), { timestamp: timestamp + 301 })],
    'a timestamp that is none': ['timestamp', withHeaders(good, { 'wechatpay-timestamp': '1e9' })],
    'unknown public key': ['serial', sign(envelope(payment()), { serial: 'PUB_KEY_ID_0119000001090000000000000009' })],
    'unknown certificate': ['serial', sign(envelope(payment()), { serial: 'A'.repeat(40) })],
    'not JSON, not signed': ['header', { headers: {}, body: 'hello' }],
    'JSON of no callback, not signed': ['header', { headers: {}, body: '{"a":' }],
    'v2 XML': ['wrong-door', { headers: { 'content-type': 'text/xml' }, body: '<xml><sign>A</sign></xml>' }],
    empty: ['header', { headers: {}, body: '' }]
  }
  t.equal(Object.keys(forgeries).length, 21)
  t.same(await keysOf(app), [])
  await refusesAlike(t, forgeries, {
    send: (message) => notify(app, message),
    check: (answer, name) => answers(t, answer, 401, name),
    traces: async () => (await keysOf(app)).filter((key) => !/:certificates:|:refused/.test(key))
  })
  t.equal(pay.calls().filter(({ api }) => api === 'v3_certificates').length, 1, 'one question for all unknown serials')
  t.match(logs(), /"level":30,[^\n]*"reason":"probe"/)
  await counted(t, world, tally(Object.values(forgeries).map(([reason]) => `pay-v3 refused ${reason}`)))
  answers(t, await notify(app, good), 204)
})

t.test('row 6: a timestamp is good up to 299 s from our clock, before and after, and not at 300 s', async (t) => {
  const seconds = Math.floor(Date.now() / 1000)
  let nowMs = seconds * 1000
  const world = await buildV3(t, { mode: 'public-key', env: NO_WORKER, now: () => nowMs })
  const { app, logs } = world
  const at = (timestamp: number) => notify(app, signed(envelope(payment()), { timestamp }))
  for (const skew of [-299, 299]) answers(t, await at(seconds + skew), 204, `${skew} s`)
  for (const skew of [-300, 300, -301, 301, -86_400, 86_400]) answers(t, await at(seconds + skew), 401, `${skew} s`)
  nowMs += 999
  answers(t, await at(seconds - 299), 204, '299.999 s behind')
  answers(t, await at(seconds + 300), 204, '299.001 s ahead')
  nowMs += 1
  answers(t, await at(seconds - 299), 401, '300 s behind')
  t.equal((await eventsIn(app)).length, 4)
  t.match(logs(), /"reason":"timestamp",[^\n]*"skewSeconds":-300\b/)
  await counted(t, world, { 'pay-v3 recorded ': 4, 'pay-v3 refused timestamp': 7 })
})

t.test('row 5: a probe is counted apart, and the same callback, rightly signed, is taken', async (t) => {
  const world = await buildV3(t)
  const { app, backend, pay, logs } = world
  const fields = payment()
  const body = envelope(fields)
  const good = signed(body)
  const probe = `WECHATPAY/SIGNTEST/${good.headers['wechatpay-signature']?.slice(19)}`
  answers(t, await notify(app, withHeaders(good, { 'wechatpay-signature': probe })), 401)
  answers(t, await notify(app, signed(body)), 204)
  t.match(await backend.waitFor(({ accepted }) => accepted), { id: idOf(fields) })
  await counted(t, world, { 'pay-v3 refused probe': 1, 'pay-v3 recorded ': 1 })
  t.notMatch(logs(), /"level":[456]0/, 'no alarm')
  t.same(pay.calls(), [], 'no certificates are asked for')
})

t.test('row 8: an address of no merchant of ours, or of one without the keys of APIv3, is 404', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  for (const mchid of ['1900000110', 'x', '*', '__proto__'])
    answers(t, await notify(app, notice(), { url: `/wechat/pay/v3/${mchid}/notify` }), 404)
  await counted(t, world, { 'pay-v3 unknown-merchant ': 4 })
  const onlyV2 = await build(t, { env: NO_WORKER })
  answers(t, await notify(onlyV2.app, notice()), 404)
  t.same(await eventsIn(app), [])
})

t.test('rows 12 and 13: bytes decide and not their label, but what is compressed is not taken', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  const labels = ['application/json', 'text/xml', 'application/x-www-form-urlencoded', 'multipart/form-data', 'x', '']
  for (const label of labels)
    answers(t, await notify(app, notice(), { headers: { 'content-type': label } }), 204, `label "${label}"`)
  for (const encoding of ['identity', 'Identity', ''])
    answers(t, await notify(app, notice(), { headers: { 'content-encoding': encoding } }), 204, encoding)
  t.equal((await eventsIn(app)).length, labels.length + 3)
  for (const encoding of ['gzip', 'br', 'identity, gzip', 'x'])
    answers(t, await notify(app, notice(), { headers: { 'content-encoding': encoding } }), 415, encoding)
  t.equal((await eventsIn(app)).length, labels.length + 3)
  await counted(t, world, { 'pay-v3 recorded ': labels.length + 3 }, { 'pay-v3 refused encoding': 4 })
  t.equal(await answeredBy(app, 'v3/:mchid/notify', 415), 4)
})

t.test('row 14: authentic, but not the JSON it should be: kept, each for itself, and refused', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  const bodies: [reason: string, body: string | Buffer][] = [
    ['body', 'hello'],
    ['body', ''],
    ['body', Buffer.from([0x7b, 0xff, 0x7d])],
    ['event_type', envelope(payment(), '')],
    ['resource', envelope(payment(), 'TRANSACTION.SUCCESS', { resource: undefined })],
    ['resource', envelope(payment(), 'TRANSACTION.SUCCESS', { resource: seal('[]') })],
    ['amount.total', envelope(payment({ amount: { total: '100', currency: 'CNY' } }))],
    ['success_time', envelope(payment({ success_time: '2025-02-30T08:00:00+08:00' }))],
    ['payer.openid', envelope(payment({ payer: {} }))],
    ['transaction_id', envelope(payment({ transaction_id: 'a:b' }))],
    ['refund_status', envelope(refund({ refund_status: 'CLOSED' }), 'REFUND.SUCCESS')]
  ]
  for (const [reason, body] of bodies) answers(t, await notify(app, signed(body)), 500, reason)
  t.same((await quarantined(app)).map(({ reason }) => reason).sort(), bodies.map(([reason]) => reason).sort())
  t.same(await eventsIn(app), [])
  await counted(t, world, tally(bodies.map(([reason]) => `pay-v3 quarantined ${reason}`)))
})

t.test('row 15: authentic, but the resource does not open: kept with what a retry needs, and refused', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app, logs } = world
  const good = seal(JSON.stringify(payment()))
  const resources = [
    seal(JSON.stringify(payment()), keys.otherApiV3Key),
    { ...good, algorithm: 'AEAD_SM4_GCM' },
    { ...good, nonce: '000000000000' },
    { ...good, associated_data: 'other' }
  ]
  for (const resource of resources) {
    const body = envelope({}, 'TRANSACTION.SUCCESS', { resource })
    answers(t, await notify(app, signed(body)), 500)
    answers(t, await notify(app, signed(body)), 500)
  }
  const entries = await quarantined(app)
  t.same(
    entries.map(({ reason }) => reason),
    resources.map(() => 'unopenable')
  )
  t.match(logs(), /"level":50,[^\n]*"verdict":"quarantined","reason":"unopenable"/)
  t.same(await eventsIn(app), [])
  await counted(t, world, { 'pay-v3 quarantined unopenable': 2 * resources.length })
})

t.test(
  'rows 16, 17 and 18: what is authentic but contradicts us is refused and kept sealed, once for each identity',
  async (t) => {
    const world = await buildV3(t, { env: NO_WORKER })
    const { app, logs } = world
    await remember(app, { api: 'v3' })
    const payments = [
      ['wrong-merchant', payment({ mchid: '1900000110' })],
      ['wrong-appid', payment({ appid: OTHER_APPID })],
      ['amount-mismatch', payment({ amount: { total: 99, currency: 'CNY' } })],
      ['amount-mismatch', payment({ amount: { total: 100, currency: 'USD' } })]
    ] as const
    const refunds = [
      ['wrong-merchant', refund({ mchid: '1900000110' })],
      ['amount-mismatch', refund({ amount: { total: 99, refund: 40 } })]
    ] as const
    for (const [reason, fields] of payments)
      for (const _ of [1, 2]) answers(t, await notify(app, signed(envelope(fields))), 500, reason)
    for (const [reason, fields] of refunds)
      for (const _ of [1, 2]) answers(t, await notify(app, refundNotice(fields)), 500, reason)
    const entries = await quarantined(app)
    const expected = [
      ...payments.map(([reason, fields]) => [idOf(fields), reason]),
      ...refunds.map(([reason, { mchid, refund_id }]) => [`refund_${mchid}_${refund_id}_SUCCESS`, reason])
    ]
    t.same(Object.fromEntries(entries.map(({ identity, reason }) => [identity, reason])), Object.fromEntries(expected))
    t.equal(entries.length, expected.length)
    t.same(await eventsIn(app), [])
    for (const reason of ['wrong-merchant', 'wrong-appid', 'amount-mismatch'])
      t.match(logs(), new RegExp(`"level":50,[^\\n]*"verdict":"quarantined","reason":"${reason}"`), 'an alarm')
    for (const place of (await keysOf(app)).filter((name) => name.includes(':quarantined:')))
      t.notMatch(Object.values(await app.redis.hgetall(place)).join(' '), /oUpF8uMuAJO|ciphertext/, 'sealed')
    const kinds = [...payments, ...refunds].flatMap(([reason]) => Array(2).fill(`pay-v3 quarantined ${reason}`))
    await counted(t, world, tally(kinds))
  }
)

t.test('row 18: the same payment or refund with other content is no second event', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  const paid = payment()
  const refunded = refund()
  answers(t, await notify(app, signed(envelope(paid))), 204)
  answers(t, await notify(app, refundNotice(refunded)), 204)
  answers(t, await notify(app, signed(envelope({ ...paid, amount: { total: 999, currency: 'CNY' } }))), 500)
  answers(t, await notify(app, refundNotice({ ...refunded, amount: { total: 100, refund: 41 } })), 500)
  t.same((await eventsIn(app)).map(({ data }) => (data.amount as { total: number }).total).sort(), [100, 100])
  t.same(
    (await quarantined(app)).map(({ reason }) => reason),
    ['other-content', 'other-content']
  )
  answers(t, await notify(app, signed(envelope(paid))), 204)
})

t.test('rows 19 and 20: a payment of an order unknown here, or expired, is recorded: money has moved', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  await remember(app, { api: 'v3', outTradeNo: 'EXPIRED_1', timeExpire: '2025-01-01T00:00:00.000Z' })
  answers(t, await notify(app, notice({ out_trade_no: 'NOBODYS_1' })), 204)
  answers(t, await notify(app, notice({ out_trade_no: 'EXPIRED_1' })), 204)
  const known = (await eventsIn(app)).map(({ data }) => [data.outTradeNo, data.orderKnown])
  t.same(Object.fromEntries(known), { NOBODYS_1: false, EXPIRED_1: true })
  answers(t, await notify(app, refundNotice(refund({ out_trade_no: 'NOBODYS_2' }))), 204)
  t.match(
    (await eventsIn(app)).find(({ type }) => type === 'refund.succeeded'),
    { data: { outTradeNo: 'NOBODYS_2' } }
  )
  await counted(t, world, { 'pay-v3 recorded ': 3 })
})

t.test('row 20: a payment of an order that was closed here is recorded, and its order counts as paid', async (t) => {
  const { app, pay } = await buildV3(t, { env: NO_WORKER })
  t.equal((await order(app, { api: 'v3', outTradeNo: 'CLOSED_1', amount: 100 })).statusCode, 200)
  const path = '/internal/pay/orders/CLOSED_1'
  const headers = { authorization: `Bearer ${API_KEY}` }
  t.equal((await app.inject({ method: 'POST', url: `${path}/close`, headers })).statusCode, 204)
  t.match(pay.order('CLOSED_1'), { state: 'CLOSED' })
  answers(t, await notify(app, notice({ out_trade_no: 'CLOSED_1' })), 204)
  t.match(await eventsIn(app), [{ type: 'payment.succeeded', data: { outTradeNo: 'CLOSED_1', orderKnown: true } }])
  t.equal((await app.inject({ url: path, headers })).json().state, 'SUCCESS')
})

t.test(
  'row 18: an order of which another amount is told stays on the list of those that WeChat is asked about',
  async (t) => {
    const { app } = await buildV3(t, { env: NO_WORKER })
    t.equal((await order(app, { api: 'v3', outTradeNo: 'ASKED_1', amount: 100 })).statusCode, 200)
    const told = (total: number) => notify(app, notice({ out_trade_no: 'ASKED_1', amount: { total, currency: 'CNY' } }))
    answers(t, await told(99), 500)
    t.equal(await app.redis.zcard(app.keys.watched), 1)
    answers(t, await told(100), 204)
    t.equal(await app.redis.zcard(app.keys.watched), 0)
  }
)

t.test('row 21: an authentic payment that is none is answered with success and is no event', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  answers(t, await notify(app, notice({ trade_state: 'NOTPAY' })), 204)
  answers(t, await notify(app, refundNotice(refund({ refund_status: 'PROCESSING' }))), 204)
  t.same(await eventsIn(app), [])
  t.same(await quarantined(app), [])
  await counted(t, world, { 'pay-v3 not-success ': 2 })
  answers(t, await notify(app, notice({ trade_state: 'NOTPAY', appid: OTHER_APPID })), 500)
  t.match(await quarantined(app), [{ reason: 'wrong-appid' }])
})

t.test('row 22: an event type that is not ours is kept raw, acknowledged, and no alarm', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app, logs } = world
  const body = envelope({ anything: 'at all' }, 'COUPON.USE')
  const unheard = envelope(payment(), 'TRANSACTION.SUCCESS.V9')
  for (const _ of [1, 2]) answers(t, await notify(app, signed(body)), 204)
  answers(t, await notify(app, signed(unheard)), 204)
  const kept = (await quarantined(app)).map(({ door, reason, body: raw }) => `${door} ${reason} ${raw}`)
  t.same(kept.sort(), [body, unheard].map((raw) => `pay-v3 other-event ${raw}`).sort())
  t.same(await eventsIn(app), [])
  await counted(t, world, { 'pay-v3 other other-event': 3 })
  t.notMatch(logs(), '"level":50')
})

t.test('row 23: each state of a refund is its own event, in whatever order, also before its payment', async (t) => {
  const world = await buildV3(t, { env: NO_WORKER })
  const { app } = world
  const fields = refund()
  const { success_time: _, ...timeless } = fields
  const id = `refund_${MCHID}_${fields.refund_id}`
  answers(t, await notify(app, refundNotice(fields)), 204)
  answers(t, await notify(app, refundNotice({ ...timeless, refund_status: 'ABNORMAL' }, 'REFUND.ABNORMAL')), 204)
  answers(t, await notify(app, refundNotice({ ...timeless, refund_status: 'CLOSED' }, 'REFUND.CLOSED')), 204)
  answers(t, await notify(app, refundNotice(fields)), 204)
  answers(t, await notify(app, notice()), 204)
  const events = await eventsIn(app)
  t.same(
    events
      .map(({ id: each, type }) => `${type} ${each}`)
      .filter((each) => each.includes(id))
      .sort(),
    [`refund.abnormal ${id}_ABNORMAL`, `refund.closed ${id}_CLOSED`, `refund.succeeded ${id}_SUCCESS`]
  )
  t.match(
    events.find(({ type }) => type === 'refund.closed'),
    { timestamp: '2025-01-01T00:01:06.000Z' },
    'without a time of its own, the time of the notification'
  )
  t.equal(events.length, 4)
  await counted(t, world, { 'pay-v3 recorded ': 4, 'pay-v3 duplicate ': 1 })
})

t.test('row 23: the state of a refund and of its order goes forward only, however its callbacks come', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  const { redis, keys: names } = app
  const fields = refund()
  const { success_time: _, ...timeless } = fields
  const records = new RefundRecords(redis, names)
  const record = { api: 'v3' as const, mchid: MCHID, outRefundNo: fields.out_refund_no, amount: 40, total: 100 }
  await remember(app, { api: 'v3' })
  await records.remember({ ...record, outTradeNo: fields.out_trade_no, createdAt: 1735689600 })
  const standing = () => records.advance(MCHID, fields.out_refund_no, 'PROCESSING')
  const stuck = () => notify(app, refundNotice({ ...timeless, refund_status: 'ABNORMAL' }, 'REFUND.ABNORMAL'))
  answers(t, await stuck(), 204)
  t.equal(await standing(), 'ABNORMAL')
  answers(t, await notify(app, refundNotice(fields)), 204)
  answers(t, await stuck(), 204)
  answers(t, await notify(app, refundNotice({ ...timeless, refund_status: 'CLOSED' }, 'REFUND.CLOSED')), 204)
  t.equal(await standing(), 'SUCCESS')
  answers(t, await notify(app, notice()), 204)
  t.equal(await new Orders(redis, names).stateOf(MCHID, fields.out_trade_no), 'REFUND')
})

t.test('row 15: a retry takes what was kept, by the clock of then and the settings of now', async (t) => {
  let nowMs = Date.now()
  const { app, another } = await buildV3(t, { env: NO_WORKER, now: () => nowMs })
  const mistaken = await another({ WECHAT_PAY_API_V3_KEY: randomBytes(16).toString('hex') })
  const fields = payment()
  const message = signed(envelope(fields), { timestamp: Math.floor(nowMs / 1000) })
  answers(t, await notify(mistaken, message), 500)
  nowMs += 3_600_000
  answers(t, await notify(app, message), 401)
  const { items } = await app.callbacks.quarantine.list({ limit: 10 })
  t.equal(items.length, 1)
  const id = items[0]?.id
  const retry = async (at: typeof app) => {
    const headers = { authorization: `Bearer ${API_KEY}` }
    return (await at.inject({ method: 'POST', url: `/internal/callbacks/quarantined/${id}/retry`, headers })).json()
  }
  t.match(await retry(mistaken), { verdict: 'quarantined' })
  t.match(await retry(app), { verdict: 'recorded' })
  t.match(await eventsIn(app), [{ id: idOf(fields) }])
  t.same(await quarantined(app), [])
})
