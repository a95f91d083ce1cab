/** The door for APIv3 callbacks: what it makes of each kind, row by row of table E in pay.md. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { API_KEY, APPID, build, MCHID, OTHER_APPID } from '../../helper.ts'
import { keysOf, NO_WORKER, remember } from './notices.ts'
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
  const { app, backend, logs } = await buildV3(t)
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
  t.match(logs(), '"verdict":"duplicate"')
  for (const secret of [fields.payer.openid, 'from-the-payer', keys.apiV3Key]) t.notMatch(logs(), secret)
})

t.test('row 1: a refund that fits is recorded under its number and state', async (t) => {
  const { app, backend } = await buildV3(t)
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
})

t.test('row 3: fifty callbacks of one payment at once, over two instances, are one event', async (t) => {
  const { app, another } = await buildV3(t, { env: NO_WORKER })
  const both = [app, await another()]
  const fields = payment()
  const all = Array.from({ length: 50 }, (_, index) => notify(both[index % 2] ?? app, signed(envelope(fields))))
  for (const answer of await Promise.all(all)) answers(t, answer, 204)
  t.same(
    (await eventsIn(app)).map(({ id }) => id),
    [idOf(fields)]
  )
})

t.test('rows 4 to 7, 10 and 29: whoever cannot sign is shown one face, and leaves nothing behind', async (t) => {
  const nowMs = Date.now()
  const { app, pay, logs } = await buildV3(t, { mode: 'public-key', env: NO_WORKER, now: () => nowMs })
  const timestamp = Math.floor(nowMs / 1000)
  const sign = (body: string | Buffer, signing = {}) => signed(body, { timestamp, ...signing })
  const good = sign(envelope(payment()))
  const { 'wechatpay-signature': signature = '' } = good.headers
  const forgeries: Record<string, Signed> = {
    'signed by a stranger': sign(envelope(payment()), { key: privateKeyOf('stranger') }),
    'signed by the merchant': sign(envelope(payment()), { key: privateKeyOf('merchant') }),
    'amount changed after signing': { ...good, body: `${good.body} ` },
    'another timestamp': withHeaders(good, { 'wechatpay-timestamp': String(timestamp - 1) }),
    'another nonce': withHeaders(good, { 'wechatpay-nonce': 'x' }),
    'no signature': withHeaders(good, { 'wechatpay-signature': undefined }),
    'no timestamp': withHeaders(good, { 'wechatpay-timestamp': undefined }),
    'no nonce': withHeaders(good, { 'wechatpay-nonce': undefined }),
    'no serial': withHeaders(good, { 'wechatpay-serial': undefined }),
    'empty signature': withHeaders(good, { 'wechatpay-signature': '' }),
    'signature in other base64': withHeaders(good, { 'wechatpay-signature': signature.replace(/=+$/, '') }),
    probe: withHeaders(good, { 'wechatpay-signature': `WECHATPAY/SIGNTEST/${signature}` }),
    '300 s old': sign(envelope(payment()), { timestamp: timestamp - 300 }),
    '301 s ahead': sign(envelope(payment()), { timestamp: timestamp + 301 }),
    'unknown public key': sign(envelope(payment()), { serial: 'PUB_KEY_ID_0119000001090000000000000009' }),
    'unknown certificate': sign(envelope(payment()), { serial: 'A'.repeat(40) }),
    'not JSON, not signed': { headers: {}, body: 'hello' },
    'v2 XML': { headers: { 'content-type': 'text/xml' }, body: '<xml><sign>A</sign></xml>' },
    empty: { headers: {}, body: '' }
  }
  const before = await keysOf(app)
  const faces = new Set<string>()
  for (const [name, message] of Object.entries(forgeries)) {
    const answer = await notify(app, message)
    answers(t, answer, 401, name)
    const { date: _, 'x-request-id': __, ...headers } = answer.headers
    faces.add(JSON.stringify([answer.statusCode, answer.body, headers]))
    const left = (await keysOf(app)).filter((key) => !/:certificates:|:refused/.test(key))
    t.same(left, before, `${name} leaves nothing in Redis`)
  }
  t.equal(Object.keys(forgeries).length, 19)
  t.equal(faces.size, 1, 'status, headers and body of all refusals are the same')
  t.equal(pay.calls().filter(({ api }) => api === 'v3_certificates').length, 1, 'one question for all unknown serials')
  for (const reason of ['header', 'signature', 'timestamp', 'serial', 'probe', 'wrong-door'])
    t.match(logs(), `"verdict":"refused","reason":"${reason}"`)
  t.match(logs(), /"level":30,[^\n]*"reason":"probe"/)
  t.notMatch(logs(), 'oUpF8uMuAJO')
  answers(t, await notify(app, good), 204)
  answers(t, await notify(app, sign(envelope(payment()), { timestamp: timestamp - 299 })), 204)
})

t.test('row 5: a probe is counted apart, and the same callback, rightly signed, is taken', async (t) => {
  const { app, backend, pay, env } = await buildV3(t)
  const metrics = async () => {
    const headers = { authorization: `Bearer ${env.INTERNAL_API_KEYS}` }
    return (await app.inject({ url: '/metrics', headers })).body
  }
  const fields = payment()
  const body = envelope(fields)
  const good = signed(body)
  const probe = `WECHATPAY/SIGNTEST/${good.headers['wechatpay-signature']?.slice(19)}`
  answers(t, await notify(app, withHeaders(good, { 'wechatpay-signature': probe })), 401)
  answers(t, await notify(app, signed(body)), 204)
  t.match(await backend.waitFor(({ accepted }) => accepted), { id: idOf(fields) })
  t.match(await metrics(), 'wxgate_callbacks_total{door="pay-v3",verdict="refused",reason="probe"} 1')
  t.same(pay.calls(), [], 'no certificates are asked for')
})

t.test('row 8: an address of no merchant of ours, or of one without the keys of APIv3, is 404', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  for (const mchid of ['1900000110', 'x', '*', '__proto__'])
    answers(t, await notify(app, notice(), { url: `/wechat/pay/v3/${mchid}/notify` }), 404)
  const onlyV2 = await build(t, { env: NO_WORKER })
  answers(t, await notify(onlyV2.app, notice()), 404)
  t.same(await eventsIn(app), [])
})

t.test('rows 12 and 13: bytes decide and not their label, but what is compressed is not taken', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  const labels = ['application/json', 'text/xml', 'application/x-www-form-urlencoded', 'multipart/form-data', 'x', '']
  for (const label of labels)
    answers(t, await notify(app, notice(), { headers: { 'content-type': label } }), 204, `label "${label}"`)
  for (const encoding of ['identity', 'Identity', ''])
    answers(t, await notify(app, notice(), { headers: { 'content-encoding': encoding } }), 204, encoding)
  t.equal((await eventsIn(app)).length, labels.length + 3)
  for (const encoding of ['gzip', 'br', 'identity, gzip', 'x'])
    answers(t, await notify(app, notice(), { headers: { 'content-encoding': encoding } }), 415, encoding)
  t.equal((await eventsIn(app)).length, labels.length + 3)
})

t.test('row 14: authentic, but not the JSON it should be: kept, each for itself, and refused', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
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
})

t.test('row 15: authentic, but the resource does not open: kept with what a retry needs, and refused', async (t) => {
  const { app, logs } = await buildV3(t, { env: NO_WORKER })
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
})

t.test(
  'rows 16, 17 and 18: what is authentic but contradicts us is refused and kept sealed, once for each identity',
  async (t) => {
    const { app, logs } = await buildV3(t, { env: NO_WORKER })
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
    t.match(logs(), /"level":50,[^\n]*"verdict":"quarantined","reason":"amount-mismatch"/)
    t.notMatch(logs(), 'oUpF8uMuAJO')
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
  const { app } = await buildV3(t, { env: NO_WORKER })
  await remember(app, { api: 'v3', outTradeNo: 'EXPIRED_1', timeExpire: '2025-01-01T00:00:00.000Z' })
  answers(t, await notify(app, notice({ out_trade_no: 'NOBODYS_1' })), 204)
  answers(t, await notify(app, notice({ out_trade_no: 'EXPIRED_1' })), 204)
  const known = (await eventsIn(app)).map(({ data }) => [data.outTradeNo, data.orderKnown])
  t.same(Object.fromEntries(known), { NOBODYS_1: false, EXPIRED_1: true })
})

t.test('row 21: an authentic payment that is none is answered with success and is no event', async (t) => {
  const { app, logs } = await buildV3(t, { env: NO_WORKER })
  answers(t, await notify(app, notice({ trade_state: 'NOTPAY' })), 204)
  answers(t, await notify(app, refundNotice(refund({ refund_status: 'PROCESSING' }))), 204)
  t.same(await eventsIn(app), [])
  t.same(await quarantined(app), [])
  t.match(logs(), '"verdict":"not-success"')
  answers(t, await notify(app, notice({ trade_state: 'NOTPAY', appid: OTHER_APPID })), 500)
  t.match(await quarantined(app), [{ reason: 'wrong-appid' }])
})

t.test('row 22: an event type that is not ours is kept raw, acknowledged, and no alarm', async (t) => {
  const { app, logs } = await buildV3(t, { env: NO_WORKER })
  const body = envelope({ anything: 'at all' }, 'COUPON.USE')
  for (const _ of [1, 2]) answers(t, await notify(app, signed(body)), 204)
  t.match(await quarantined(app), [{ door: 'pay-v3', reason: 'other-event', body }])
  t.same(await eventsIn(app), [])
  t.match(logs(), '"verdict":"other"')
  t.notMatch(logs(), '"level":50')
})

t.test('row 23: each state of a refund is its own event, in whatever order, also before its payment', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
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
