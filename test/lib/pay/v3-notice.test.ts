/**
 * Callbacks of WeChat Pay APIv3 as typed facts, against the published vectors and the table in docs/wechat/pay.md E.
 */
import { createCipheriv, createPublicKey, type KeyObject } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { Event } from '../../../lib/events/model.ts'
import { type Known, mismatchOf } from '../../../lib/pay/match.ts'
import type { PayNotice } from '../../../lib/pay/model.ts'
import { verifyV3 } from '../../../lib/pay/v3/crypto.ts'
import { parseJsonObject } from '../../../lib/pay/v3/fields.ts'
import { createApiV3Key } from '../../../lib/pay/v3/keys.ts'
import { failReplyV3, readNoticeV3 } from '../../../lib/pay/v3/notices.ts'
import { vectors } from '../../vectors.ts'
import { VECTOR_AMOUNT, VECTOR_PAYMENT } from './vector-payment.ts'

const keys = vectors('pay-keys')
const { cases } = vectors('pay-v3-notify')
const apiV3Key = createApiV3Key(keys.apiV3Key)
const payment = findCase('payment, platform certificate').expected.resource
const refund = findCase('refund success').expected.resource
const ours: Known = { mchid: keys.mchid, appids: [keys.appid] }
const id = 'EV-2025010108010500001'
const createTime = '2025-01-01T00:01:06.000Z'

const STATUS_BY_EVENT: Record<string, string> = {
  'TRANSACTION.SUCCESS': 'event',
  'REFUND.SUCCESS': 'event',
  'REFUND.CLOSED': 'event',
  'REFUND.ABNORMAL': 'event'
}

/** Our words, and what the vectors call the same. */
const VECTOR_WORDS: Record<string, string> = {
  header: 'missing-header',
  timestamp: 'stale',
  serial: 'unknown-serial',
  signature: 'bad-signature',
  probe: 'bad-signature',
  unopenable: 'undecryptable',
  other: 'accept'
}

t.test('verifyV3(), readNoticeV3() and mismatchOf() give the verdict of every vector', async (t) => {
  const seen: Record<string, number> = {}
  for (const { name, input, expected } of cases) {
    const message = { headers: input.headers, body: Buffer.from(input.body) }
    const verified = verifyV3(message, trustOf(input.trust), input.now * 1000)
    const order = input.order && { totalFen: input.order.total, currency: input.order.currency }
    const known = { mchid: input.mchid, appids: input.appids, order: order ?? undefined }
    const notice = readNoticeV3(message.body, createApiV3Key(input.apiV3Key))
    const verdict = verified.status === 'refused' ? verified.reason : verdictOf(notice, known)
    t.equal(VECTOR_WORDS[verdict] ?? verdict, expected.verdict, name)
    seen[verdict] = (seen[verdict] ?? 0) + 1
  }
  t.strictSame(seen, {
    accept: 13,
    other: 1,
    'amount-mismatch': 1,
    'wrong-appid': 1,
    'wrong-merchant': 1,
    signature: 1,
    probe: 1,
    timestamp: 2,
    serial: 2,
    header: 1,
    unopenable: 3,
    malformed: 5
  })
  t.equal(cases.length, 32)
})

t.test('readNoticeV3() keeps every field of an opened vector as it came', async (t) => {
  const opened = cases.filter((each: { expected: object }) => 'resource' in each.expected)
  for (const { name, input, expected } of opened) {
    const notice = readNoticeV3(Buffer.from(input.body), apiV3Key)
    t.strictSame(rawOf(notice), notice.status === 'other' ? undefined : expected.resource, name)
    t.equal(notice.status, STATUS_BY_EVENT[expected.eventType] ?? 'other', name)
  }
  t.equal(opened.length, 17)
})

t.test('readNoticeV3() tells the facts of a payment with their types', async (t) => {
  const facts = { api: 'v3', ...VECTOR_PAYMENT }
  const amount = VECTOR_AMOUNT
  const more = { amount: { ...amount, payerTotal: 90 }, attach: '甲&乙', bankType: 'OTHERS' }
  t.strictSame(factsOf(paymentOf({})), { ...facts, ...more, raw: payment })
  const fewer = { attach: '', bank_type: null, amount: { total: 100 } }
  const raw = { ...payment, ...fewer }
  t.strictSame(factsOf(paymentOf(fewer)), { ...facts, amount, raw })
})

t.test('readNoticeV3() tells the facts of a refund with their types', async (t) => {
  const facts = {
    api: 'v3',
    outTradeNo: 'T20250101_0001',
    transactionId: '4200002400202501011234567890',
    outRefundNo: 'R20250101_0001',
    refundId: '50302500002025010112345678901',
    amount: { total: 100, refund: 30 },
    mchid: '1900000109'
  }
  const success = refundOf('REFUND.SUCCESS', {})
  const successTime = '2025-01-02T01:10:11.000Z'
  t.match(eventOf(success), { type: 'refund.succeeded', timestamp: successTime })
  t.strictSame(factsOf(success), { ...facts, successTime, raw: refund })
  for (const state of ['CLOSED', 'ABNORMAL']) {
    const notice = refundOf(`REFUND.${state}`, { refund_status: state })
    const raw = { ...refund, refund_status: state }
    t.strictSame(factsOf(notice), { ...facts, raw }, 'a time is of success only')
    t.match(eventOf(notice), { type: `refund.${state.toLowerCase()}`, timestamp: createTime })
  }
  const { success_time: _time, ...timeless } = refund
  t.match(eventOf(noticeOf('REFUND.SUCCESS', timeless)), { type: 'refund.succeeded', timestamp: createTime })
})

t.test('readNoticeV3() names the first field that is not what it should be: row 14', async (t) => {
  const texts = ['mchid', 'appid', 'out_trade_no', 'transaction_id', 'trade_state', 'success_time']
  for (const field of texts) {
    for (const value of [undefined, null, '', 1, true, {}, ['x']])
      t.strictSame(paymentOf({ [field]: value }), malformed(field), `${field} ${JSON.stringify(value)}`)
  }
  const faults: [place: string, change: object][] = [
    ['payer.openid', { payer: undefined }],
    ['payer.openid', { payer: 'o' }],
    ['payer.openid', { payer: { openid: 1 } }],
    ['attach', { attach: 1 }],
    ['bank_type', { bank_type: {} }],
    ['amount.total', { amount: undefined }],
    ['amount.total', { amount: 100 }],
    ['amount.total', { amount: [100] }],
    ['amount.payer_total', { amount: { total: 100, payer_total: '90' } }],
    ['amount.currency', { amount: { total: 100, currency: 1 } }],
    ...['2025-02-30T00:00:00+08:00', '2025-01-01 08:01:05', '2025-01-01T08:01:05'].map((time): [string, object] => [
      'success_time',
      { success_time: time }
    ]),
    ...['4200_:0', '42 00', '4200\n', 'x'.repeat(65), '订单'].map((id): [string, object] => [
      'transaction_id',
      { transaction_id: id }
    ]),
    ...['100', 1.5, -1, 10_000_000_000, 1e300, true].map((total): [string, object] => [
      'amount.total',
      { amount: { total } }
    ])
  ]
  for (const [place, change] of faults) t.strictSame(paymentOf(change), malformed(place), JSON.stringify(change))
  t.match(factsOf(paymentOf({ amount: { total: 9_999_999_999 } })), { amount: { total: 9_999_999_999 } })
  t.match(factsOf(paymentOf({ amount: { total: 0 } })), { amount: { total: 0 } })
})

t.test('readNoticeV3() names the first field of a refund that is not what it should be: row 14', async (t) => {
  const read = (change: object) => refundOf('REFUND.SUCCESS', change)
  for (const field of ['mchid', 'out_trade_no', 'transaction_id', 'out_refund_no', 'refund_id', 'refund_status'])
    for (const value of [undefined, '', 1]) t.strictSame(read({ [field]: value }), malformed(field), field)
  t.strictSame(read({ refund_status: 'success' }), malformed('refund_status'))
  t.strictSame(read({ refund_status: 'CLOSED' }), malformed('refund_status'), 'not what the event type says')
  t.strictSame(read({ success_time: 'soon' }), malformed('success_time'))
  t.strictSame(read({ amount: { total: 100 } }), malformed('amount.refund'))
  t.strictSame(read({ amount: { refund: 1 } }), malformed('amount.total'))
  t.strictSame(read({ amount: { total: 100, refund: 101 } }), malformed('amount.refund'))
  t.strictSame(read({ refund_id: 'a:b' }), malformed('refund_id'))
})

t.test('readNoticeV3() calls what is no callback malformed, and names the place: row 14', async (t) => {
  const read = (text: string | Buffer) => readNoticeV3(Buffer.from(text), apiV3Key)
  for (const text of [
    '',
    'hello',
    'null',
    '[]',
    '"x"',
    '1',
    '{"a":1',
    '\ufeff{}',
    '<xml/>',
    Buffer.from('{"a":"\xff"}', 'latin1')
  ])
    t.strictSame(read(text), malformed('body'), String(text))
  t.strictSame(read('{}'), malformed('event_type'))
  for (const event_type of [1, null, '', {}])
    t.strictSame(read(JSON.stringify({ event_type })), malformed('event_type'))
  const event_type = 'TRANSACTION.SUCCESS'
  for (const resource of [undefined, null, 'x', 1, []])
    t.strictSame(read(JSON.stringify({ event_type, resource })), malformed('resource'))
  for (const text of ['', 'x', '[]', 'null', '"{}"', Buffer.from('{"a":"\xff"}', 'latin1')])
    t.strictSame(read(callback(event_type, text)), malformed('resource'), String(text))
  t.strictSame(read(callback(event_type, '{}', { create_time: 'now' })), malformed('create_time'))
  t.strictSame(read(callback(event_type, '{}', { id: 1 })), malformed('id'))
})

t.test('readNoticeV3() tells what does not open from what opens to nonsense: row 15', async (t) => {
  const body = callback('TRANSACTION.SUCCESS', JSON.stringify(payment))
  t.equal(readNoticeV3(body, apiV3Key).status, 'event')
  t.strictSame(readNoticeV3(body, createApiV3Key(keys.otherApiV3Key)), malformed('unopenable'))
  const empty = Buffer.from('{"event_type":"TRANSACTION.SUCCESS","resource":{}}')
  t.strictSame(readNoticeV3(empty, apiV3Key), malformed('unopenable'))
})

t.test('mismatchOf() compares merchant, app, amount and currency of a payment: rows 16 to 19', async (t) => {
  const notice = paymentOf({})
  t.equal(notice.status, 'event')
  const matched = (change: object, known: Partial<Known> = {}) =>
    notice.status === 'event' && (mismatchOf({ ...notice.said, ...change }, { ...ours, ...known }) ?? 'accept')
  const order = { totalFen: 100, currency: 'CNY' }
  t.equal(matched({}), 'accept', 'an order unknown to us')
  t.equal(matched({}, { order }), 'accept')
  t.equal(matched({ mchid: '1900000110' }, { order }), 'wrong-merchant')
  t.equal(matched({}, { appids: [] }), 'wrong-appid')
  t.equal(matched({ appid: 'wx0' }), 'wrong-appid')
  t.equal(matched({ total: 99 }, { order }), 'amount-mismatch')
  t.equal(matched({ total: 90 }, { order }), 'amount-mismatch', 'not what the payer paid')
  t.equal(matched({ currency: 'USD' }, { order }), 'amount-mismatch')
})

t.test('mismatchOf() compares merchant and order amount of a refund: rows 16, 18, 19 and 23', async (t) => {
  const notice = refundOf('REFUND.SUCCESS', {})
  const matched = (known: Partial<Known>) => verdictOf(notice, { ...ours, ...known })
  t.equal(matched({}), 'accept', 'an order unknown to us, a refund before its payment')
  t.equal(matched({ order: { totalFen: 100, currency: 'CNY' } }), 'accept')
  t.equal(matched({ order: { totalFen: 99, currency: 'CNY' } }), 'amount-mismatch')
  t.equal(matched({ mchid: '1900000110' }), 'wrong-merchant')
})

t.test('readNoticeV3() takes no other state for a success: row 21', async (t) => {
  const { mchid, appid } = keys
  const said = { mchid, appid }
  for (const state of ['NOTPAY', 'REFUND', 'CLOSED', 'success', 'SUCCESS '])
    t.strictSame(paymentOf({ trade_state: state }), { status: 'not-success', said }, state)
  const bare = noticeOf('TRANSACTION.SUCCESS', { mchid, appid, trade_state: 'NOTPAY' })
  t.strictSame(bare, { status: 'not-success', said })
  const processing = refundOf('REFUND.SUCCESS', { refund_status: 'PROCESSING' })
  t.strictSame(processing, { status: 'not-success', said: { mchid } })
  t.equal(verdictOf(bare, ours), 'accept')
  t.equal(verdictOf(bare, { ...ours, appids: [] }), 'wrong-appid')
  t.equal(verdictOf(processing, ours), 'accept')
  t.equal(verdictOf(processing, { ...ours, mchid: '1900000110' }), 'wrong-merchant')
})

t.test('readNoticeV3() calls what it does not know other: row 22', async (t) => {
  for (const eventType of [
    'TRANSACTION.FUTURE',
    'COUPON.USE',
    'REFUND.FUTURE',
    'constructor',
    '__proto__',
    'toString'
  ]) {
    const notice = noticeOf(eventType, { hello: 1 })
    t.strictSame(notice, { status: 'other' }, eventType)
  }
})

t.test('readNoticeV3() is not misled by names that JavaScript knows', async (t) => {
  const text = JSON.stringify(payment).replace('{', '{"__proto__":{"attach":"x","amount":{"total":1}},')
  const notice = readNoticeV3(callback('TRANSACTION.SUCCESS', text), apiV3Key)
  t.match(factsOf(notice), { amount: { total: 100 }, attach: '甲&乙' })
  const hidden = readNoticeV3(callback('TRANSACTION.SUCCESS', `{"__proto__":${JSON.stringify(payment)}}`), apiV3Key)
  t.strictSame(hidden, malformed('trade_state'))
})

t.test('readNoticeV3() never throws, whatever was signed', async () => {
  const value = fc.jsonValue({ maxDepth: 3 })
  fc.assert(
    fc.property(
      fc.constantFrom('TRANSACTION.SUCCESS', 'REFUND.SUCCESS', 'X'),
      value,
      fc.constantFrom(...Object.keys(payment)),
      value,
      (type, whole, field, part) => {
        const changed = { ...payment, ...refund, trade_state: 'SUCCESS', [field]: part }
        for (const resource of [whole, changed]) readNoticeV3(callback(type, JSON.stringify(resource)), apiV3Key)
        readNoticeV3(Buffer.from(JSON.stringify(whole)), apiV3Key)
        return true
      }
    ),
    { numRuns: 500 }
  )
})

t.test('failReplyV3 says FAIL', async (t) => {
  t.strictSame(JSON.parse(failReplyV3), { code: 'FAIL', message: '失败' })
})

t.test('parseJsonObject() keeps ids as the texts they are', async (t) => {
  t.strictSame(parseJsonObject(Buffer.from('{"id":"4200002400202501011234567890"}')), {
    id: '4200002400202501011234567890'
  })
})

t.test('parseJsonObject() keeps all digits of whole numbers, wherever they stand', async (t) => {
  const numbers =
    '{"a":9007199254740991,"b": 9007199254740993,"c":[1,\n-90071992547409931],"d":{"e":1.5,"f":"9007199254740993"}}'
  t.strictSame(parseJsonObject(Buffer.from(numbers)), {
    a: 9007199254740991,
    b: '9007199254740993',
    c: [1, '-90071992547409931'],
    d: { e: 1.5, f: '9007199254740993' }
  })
  for (const text of ['[9007199254740993]', '{"a":9007199254740993', '{"a":9007199254740993,"b":"\u0001"}'])
    t.equal(parseJsonObject(Buffer.from(text)), undefined, text)
})

// The files of vectors are JSON of many shapes.
function findCase(wanted: string) {
  return cases.find(({ name }: { name: string }) => name === wanted)
}

function trustOf(trust: Record<string, string>): Map<string, KeyObject> {
  return new Map(
    Object.entries(trust).map(([serial, name]) => [
      serial,
      createPublicKey(keys[name.slice('pay-keys.json '.length)].publicPem)
    ])
  )
}

/** The verdict on a notice: a mismatch, else what the reader found. */
function verdictOf(notice: PayNotice, known: Known): string {
  if (notice.status === 'event' || notice.status === 'not-success') return mismatchOf(notice.said, known) ?? 'accept'
  return notice.status === 'malformed' && notice.reason === 'unopenable' ? 'unopenable' : notice.status
}

function eventOf(notice: PayNotice): Event {
  if (notice.status !== 'event') throw new Error(`no event: ${notice.status}`)
  return notice.event(true, '')
}

/** What the event of a notice says, as it is recorded. */
const factsOf = (notice: PayNotice): Record<string, unknown> => JSON.parse(JSON.stringify(eventOf(notice).data))

const rawOf = (notice: PayNotice): unknown => (notice.status === 'event' ? factsOf(notice).raw : undefined)

/** A callback as WeChat seals it. */
function callback(event_type: string, text: string | Buffer, change: object = {}): Buffer {
  const nonce = 'fdasflkja484'
  const cipher = createCipheriv('aes-256-gcm', keys.apiV3Key, nonce).setAAD(Buffer.from('transaction'))
  const ciphertext = Buffer.concat([cipher.update(Buffer.from(text)), cipher.final(), cipher.getAuthTag()]).toString(
    'base64'
  )
  const resource = { algorithm: 'AEAD_AES_256_GCM', ciphertext, nonce, associated_data: 'transaction' }
  return Buffer.from(JSON.stringify({ id, create_time: '2025-01-01T08:01:06+08:00', event_type, resource, ...change }))
}

function noticeOf(eventType: string, resource: object): PayNotice {
  return readNoticeV3(callback(eventType, JSON.stringify(resource)), apiV3Key)
}

function paymentOf(change: object): PayNotice {
  return noticeOf('TRANSACTION.SUCCESS', { ...payment, ...change })
}

function refundOf(eventType: string, change: object): PayNotice {
  return noticeOf(eventType, { ...refund, ...change })
}

function malformed(reason: string) {
  return { status: 'malformed', reason }
}
