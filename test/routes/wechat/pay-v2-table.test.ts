/** The endpoint for v2 payment notices: its answer to each kind, row by row of docs/wechat/pay.md E. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { API_KEY, APPID, build, MCHID, OTHER_APPID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { order } from '../internal/order.ts'
import { type Forgeries, refusesAlike } from './faces.ts'
import {
  answeredBy,
  answers,
  atOnce,
  counted,
  countedBy,
  eventsIn,
  type Fields,
  keysOf,
  NO_WORKER,
  notify,
  payment,
  quarantined,
  remember,
  sign,
  signed,
  tally,
  xml
} from './notices.ts'

const IDENTITY_DAYS = 32
const DAY_MS = 86_400_000

const idOf = ({ mch_id, transaction_id }: Fields) => `pay_${mch_id}_${transaction_id}`

t.test('rows 1 and 2: a notice that fits is recorded once, and every repeat gets the same success', async (t) => {
  const world = await build(t)
  const { app, backend, secrets, logs } = world
  await remember(app)
  const fields = payment({ cash_fee: '88', bank_type: 'OTHERS', sign_type: 'HMAC-SHA256' })
  const body = xml({ ...fields, sign: sign(fields, secrets.apiV2Key, 'HMAC-SHA256') })
  answers(t, await notify(app, body), 200)
  const event = await backend.waitFor(({ accepted }) => accepted)
  t.match(event, { id: idOf(fields), type: 'payment.succeeded', timestamp: '2025-01-01T00:01:05.000Z' })
  t.same(event.data, {
    api: 'v2',
    appid: APPID,
    mchid: MCHID,
    openid: fields.openid,
    outTradeNo: fields.out_trade_no,
    transactionId: fields.transaction_id,
    amount: { total: 100, payerTotal: 88, currency: 'CNY' },
    successTime: '2025-01-01T00:01:05.000Z',
    attach: 'from-the-payer',
    bankType: 'OTHERS',
    orderKnown: true,
    raw: fields
  })

  for (const _ of [1, 2, 3]) answers(t, await notify(app, body), 200)
  t.equal((await eventsIn(app)).length, 1)
  await counted(t, world, { 'pay-v2 recorded ': 1, 'pay-v2 duplicate ': 3 })
  for (const secret of [fields.openid, 'from-the-payer', secrets.apiV2Key, sign(fields, secrets.apiV2Key)])
    t.notMatch(logs(), secret)
})

t.test('row 2: the identity stays known for 32 days, also when the delivered event is long gone', async (t) => {
  const { app, secrets } = await build(t, { env: NO_WORKER })
  const fields = payment()
  const body = signed(fields, secrets.apiV2Key)
  answers(t, await notify(app, body), 200)
  const keys = await keysOf(app)
  const identity = keys.find((name) => name.endsWith(`:de:${idOf(fields)}`)) ?? ''
  const leftMs = await app.redis.pttl(identity)
  t.ok(leftMs > (IDENTITY_DAYS - 1) * DAY_MS && leftMs <= IDENTITY_DAYS * DAY_MS, `${leftMs} ms`)
  await app.redis.del(...keys.filter((name) => name !== identity))
  answers(t, await notify(app, body), 200)
  t.same(await keysOf(app), [identity])
})

t.test('row 3: fifty notices of one payment at once, over two instances, are one event', async (t) => {
  const { app, another, secrets } = await build(t, { env: NO_WORKER })
  const both = [app, await another()] as const
  const fields = payment()
  const body = signed(fields, secrets.apiV2Key)
  for (const answer of await atOnce(50, both, (each) => notify(each, body))) answers(t, answer, 200)
  t.same(
    (await eventsIn(app)).map(({ id }) => id),
    [idOf(fields)]
  )
  t.same(await countedBy(both), { 'pay-v2 recorded ': 1, 'pay-v2 duplicate ': 49 })
})

t.test('rows 4, 10, 11 and 29: whoever cannot sign is shown one face, and leaves nothing behind', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { app, secrets } = world
  const good = signed(payment(), secrets.apiV2Key)
  const unsigned = payment()
  let fetched = 0
  const { origin } = await listenFor(t, (_request, response) => {
    fetched += 1
    response.end('100')
  })
  const doctype = (system: string) => `<!DOCTYPE xml [<!ENTITY a SYSTEM "${system}">]>`
  const forgeries: Forgeries<string> = {
    'signed with another key': ['signature', signed(payment(), randomBytes(16).toString('hex'))],
    'no sign': ['signature', xml(unsigned)],
    'empty sign': ['signature', xml({ ...unsigned, sign: '' })],
    'sign of 31 digits': ['signature', xml({ ...unsigned, sign: 'A'.repeat(31) })],
    'sign in lower case': ['signature', xml({ ...unsigned, sign: sign(unsigned, secrets.apiV2Key).toLowerCase() })],
    'amount changed after signing': ['signature', good.replace('<![CDATA[100]]>', '<![CDATA[1]]>')],
    'sign_type NONE': ['signature', signed(payment({ sign_type: 'NONE' }), secrets.apiV2Key)],
    'another merchant, not signed': ['signature', xml(payment({ mch_id: '1900000110', sign: 'A'.repeat(32) }))],
    'an order we know, not signed': ['signature', xml(payment({ total_fee: '1', sign: 'A'.repeat(32) }))],
    'unsigned return_code FAIL': ['signature', '<xml><return_code>FAIL</return_code><return_msg>no</return_msg></xml>'],
    'not XML': ['shape', 'appid=wx&sign=1'],
    empty: ['shape', ''],
    DOCTYPE: ['doctype', doctype('file:///etc/passwd') + good],
    'an entity of a DOCTYPE': ['doctype', doctype(`${origin}/a`) + good.replace('<![CDATA[100]]>', '&a;')],
    'an entity of nobody': ['entity', good.replace('<![CDATA[100]]>', '&a;')],
    'an attribute': ['attribute', good.replace('<appid>', '<appid x="1">')],
    'an element twice': ['duplicate', good.replace('</xml>', '<total_fee>1</total_fee></xml>')],
    'an element in another': ['nested', good.replace('<![CDATA[100]]>', '<fen>100</fen>')],
    'v3 JSON': [
      'wrong-door',
      JSON.stringify({ id: 'EV-2018', event_type: 'TRANSACTION.SUCCESS', resource: { ciphertext: 'AAAA' } })
    ]
  }
  await remember(app)
  t.equal(Object.keys(forgeries).length, 19)
  await refusesAlike(t, forgeries, {
    send: (body) => notify(app, body),
    check: (answer) => answers(t, answer, 401),
    traces: () => keysOf(app)
  })
  t.equal(fetched, 0, 'nothing is fetched')
  await counted(t, world, tally(Object.values(forgeries).map(([reason]) => `pay-v2 refused ${reason}`)))
  answers(t, await notify(app, good), 200)
})

t.test('row 8: an address of no merchant of ours, or of one without an APIv2 key, is 404', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { app, another, secrets } = world
  const body = signed(payment(), secrets.apiV2Key)
  for (const mchid of ['1900000110', 'x', '*', '__proto__'])
    answers(t, await notify(app, body, { url: `/wechat/pay/v2/${mchid}/notify` }), 404)
  await counted(t, world, { 'pay-v2 unknown-merchant ': 4 })
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const onlyV3 = await another({
    WECHAT_PAY_API_V2_KEY: undefined,
    WECHAT_PAY_API_V3_KEY: secrets.apiV2Key,
    WECHAT_PAY_CERT_SERIAL: 'A'.repeat(40),
    WECHAT_PAY_PRIVATE_KEY: String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
  })
  answers(t, await notify(onlyV3, body), 404)
  t.same(await keysOf(app), [])
})

t.test('rows 12 and 13: bytes decide and not their label, but what is compressed is not taken', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { app, secrets } = world
  const labels = [
    'text/xml',
    'application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'nonsense',
    ''
  ]
  for (const label of labels)
    answers(t, await notify(app, signed(payment(), secrets.apiV2Key), { headers: { 'content-type': label } }), 200)
  for (const encoding of ['identity', 'Identity', ''])
    answers(
      t,
      await notify(app, signed(payment(), secrets.apiV2Key), { headers: { 'content-encoding': encoding } }),
      200
    )
  t.equal((await eventsIn(app)).length, labels.length + 3)
  for (const encoding of ['gzip', 'br', 'identity, gzip', 'x'])
    answers(
      t,
      await notify(app, signed(payment(), secrets.apiV2Key), { headers: { 'content-encoding': encoding } }),
      415
    )
  t.equal((await eventsIn(app)).length, labels.length + 3)
  await counted(t, world, { 'pay-v2 recorded ': labels.length + 3 }, { 'pay-v2 refused encoding': 4 })
  t.equal(await answeredBy(app, 'v2/:mchid/notify', 415), 4)
})

t.test(
  'rows 16, 17 and 18: what is authentic but contradicts us is refused and kept sealed, once for each payment',
  async (t) => {
    const world = await build(t, { env: NO_WORKER })
    const { app, secrets, logs } = world
    await remember(app)
    const contradictions = [
      ['wrong-merchant', payment({ mch_id: '1900000110' })],
      ['wrong-appid', payment({ appid: OTHER_APPID })],
      ['amount-mismatch', payment({ total_fee: '99' })],
      ['amount-mismatch', payment({ fee_type: 'USD' })]
    ] as const
    for (const [, fields] of contradictions) {
      const body = signed(fields, secrets.apiV2Key)
      answers(t, await notify(app, body), 500)
      answers(t, await notify(app, body), 500)
    }
    const entries = await quarantined(app)
    for (const [reason, fields] of contradictions) {
      const entry = entries.find(({ identity }) => identity === idOf(fields))
      t.match(entry, { reason, door: 'pay-v2', body: signed(fields, secrets.apiV2Key) })
    }
    t.equal(entries.length, contradictions.length)
    t.same(await eventsIn(app), [])
    for (const place of (await keysOf(app)).filter((name) => name.includes(':quarantined:'))) {
      const held = Object.values(await app.redis.hgetall(place)).join(' ')
      t.notMatch(held, 'oUpF8uMuAJO', 'nothing of it can be read in Redis')
      const seconds = await app.redis.ttl(place)
      t.ok(seconds > 30 * 86_400 && seconds <= IDENTITY_DAYS * 86_400)
    }
    for (const reason of ['wrong-merchant', 'wrong-appid', 'amount-mismatch'])
      t.match(logs(), new RegExp(`"level":50,[^\\n]*"verdict":"quarantined","reason":"${reason}"`), 'an alarm')
    await counted(t, world, tally(contradictions.flatMap(([reason]) => Array(2).fill(`pay-v2 quarantined ${reason}`))))
  }
)

t.test(
  'row 18: an order of which another amount is told stays on the list of those that WeChat is asked about',
  async (t) => {
    const { app, secrets } = await build(t, { env: NO_WORKER })
    t.equal((await order(app, { outTradeNo: 'ASKED_1', amount: 100 })).statusCode, 200)
    const told = (total_fee: string) =>
      notify(app, signed(payment({ out_trade_no: 'ASKED_1', total_fee }), secrets.apiV2Key))
    answers(t, await told('99'), 500)
    t.equal(await app.redis.zcard(app.keys.watched), 1)
    answers(t, await told('100'), 200)
    t.equal(await app.redis.zcard(app.keys.watched), 0)
  }
)

t.test('row 18: the same payment with another amount is no second event', async (t) => {
  const { app, secrets } = await build(t, { env: NO_WORKER })
  const fields = payment()
  answers(t, await notify(app, signed(fields, secrets.apiV2Key)), 200)
  answers(t, await notify(app, signed({ ...fields, total_fee: '999' }, secrets.apiV2Key)), 500)
  t.match(await eventsIn(app), [{ id: idOf(fields), data: { amount: { total: 100 } } }])
  t.match(await quarantined(app), [{ identity: idOf(fields), reason: 'other-content' }])
  answers(t, await notify(app, signed(fields, secrets.apiV2Key)), 200)
})

t.test('what is authentic but incomplete is kept too, each for itself', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { app, secrets } = world
  for (const change of [
    { total_fee: '1e2' },
    { total_fee: '' },
    { time_end: '20250230080105' },
    { openid: '' },
    { transaction_id: 'a:b' }
  ])
    answers(t, await notify(app, signed(payment(change), secrets.apiV2Key)), 500)
  t.same((await quarantined(app)).map(({ reason }) => reason).sort(), [
    'openid',
    'time_end',
    'total_fee',
    'total_fee',
    'transaction_id'
  ])
  await counted(t, world, {
    'pay-v2 quarantined openid': 1,
    'pay-v2 quarantined time_end': 1,
    'pay-v2 quarantined total_fee': 2,
    'pay-v2 quarantined transaction_id': 1
  })
  t.same(await eventsIn(app), [])
})

t.test('rows 19 and 20: a payment of an order unknown here, or expired, is recorded: money has moved', async (t) => {
  const world = await build(t, { env: NO_WORKER, now: () => Date.parse('2025-06-01T00:00:00Z') })
  const { app, secrets } = world
  await remember(app, { outTradeNo: 'EXPIRED_1', timeExpire: '2025-01-01T00:00:00.000Z' })
  answers(t, await notify(app, signed(payment({ out_trade_no: 'NOBODYS_1' }), secrets.apiV2Key)), 200)
  answers(t, await notify(app, signed(payment({ out_trade_no: 'EXPIRED_1' }), secrets.apiV2Key)), 200)
  const known = (await eventsIn(app)).map(({ data }) => [data.outTradeNo, data.orderKnown])
  t.same(Object.fromEntries(known), { NOBODYS_1: false, EXPIRED_1: true })
  await counted(t, world, { 'pay-v2 recorded ': 2 })
})

t.test('row 20: a payment of an order that was closed here is recorded, and its order counts as paid', async (t) => {
  const { app, sandbox, secrets } = await build(t, { env: NO_WORKER })
  t.equal((await order(app, { outTradeNo: 'CLOSED_1', amount: 100 })).statusCode, 200)
  const path = '/internal/pay/orders/CLOSED_1'
  const headers = { authorization: `Bearer ${API_KEY}` }
  const closed = await app.inject({ method: 'POST', url: `${path}/close`, headers })
  t.equal(closed.statusCode, 204)
  t.match(sandbox.order('CLOSED_1'), { state: 'CLOSED' })
  answers(t, await notify(app, signed(payment({ out_trade_no: 'CLOSED_1' }), secrets.apiV2Key)), 200)
  t.match(await eventsIn(app), [{ type: 'payment.succeeded', data: { outTradeNo: 'CLOSED_1', orderKnown: true } }])
  t.equal((await app.inject({ url: path, headers })).json().state, 'SUCCESS')
})

t.test('row 21: an authentic failure is answered with success and is no event', async (t) => {
  const world = await build(t, { env: NO_WORKER })
  const { app, secrets } = world
  const fields = payment({ result_code: 'FAIL', err_code: 'SYSTEMERROR' })
  answers(t, await notify(app, signed(fields, secrets.apiV2Key)), 200)
  t.same(await keysOf(app), [])
  await counted(t, world, { 'pay-v2 not-success ': 1 })
  answers(t, await notify(app, signed({ ...fields, appid: OTHER_APPID }, secrets.apiV2Key)), 500)
  t.match(await quarantined(app), [{ reason: 'wrong-appid' }])
})

t.test('64 KiB are read and no byte more, before any key is looked at', async (t) => {
  const { app } = await build(t, { env: NO_WORKER })
  const send = (door: string, bytes: number) =>
    app.inject({ method: 'POST', url: `/wechat/pay/v2/${MCHID}/${door}`, payload: Buffer.alloc(bytes, 'x') })
  for (const door of ['notify', 'refund']) {
    answers(t, await send(door, 65_536), 401)
    answers(t, await send(door, 65_537), 413)
  }
})
