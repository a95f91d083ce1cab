/** The sandbox as WeChat Pay that calls back, APIv3: payments and refunds, rightly told, and spoilt as a test asks. */
import { X509Certificate } from 'node:crypto'
import t, { type Test } from 'tap'
import { RETRY_PAUSES_SECONDS } from '../../sandbox/acts/deliver.ts'
import type { PayInput, RefundInput } from '../../sandbox/index.ts'
import { postJson } from './client.ts'
import { app, buildPay, holds, type Json, merchant, notified, open, type Received, secrets } from './pay-client.ts'

const [certificate = { certificatePem: '', privateKeyPem: '' }] = merchant.v3?.certificates ?? []
const publicKeyPem = secrets.publicKeyPem ?? ''

async function ordered(t: Test, answers: number[] = []) {
  const world = await buildPay(t)
  const { url, received } = await notified(t, answers)
  const { json } = await world.order({ notify_url: url, attach: 'a' })
  const prepayId: string = json.prepay_id
  /** The notices of one payment. */
  const pay = async (changes: Omit<PayInput, 'prepayId'> = {}): Promise<Received[]> => {
    const before = received.length
    await world.sandbox.pay({ prepayId, ...changes })
    return received.slice(before)
  }
  return { ...world, url, received, prepayId, pay }
}

/** The one notice that came. */
function only(notices: Received[]): Received {
  const [notice] = notices
  if (notice === undefined || notices.length !== 1) throw new Error(`${notices.length} notices, not one`)
  return notice
}

t.test('pay() tells of a v3 order in JSON, signed and sealed', async (t) => {
  const { sandbox, prepayId, received, url } = await ordered(t)
  const paid = await postJson(`${sandbox.origin}/sandbox/pay`, { prepayId })
  t.match(paid, { outTradeNo: 'T20250101_0001', notices: [{ url, status: 204, body: '' }] })
  const { headers, text, json } = only(received)
  t.ok(holds(headers, text, certificate.certificatePem))
  t.equal(headers.get('wechatpay-serial'), new X509Certificate(certificate.certificatePem).serialNumber)
  t.equal(headers.get('wechatpay-signature-type'), 'WECHATPAY2-SHA256-RSA2048')
  t.match(json, {
    id: /^[0-9a-f-]{36}$/,
    create_time: '2025-01-01T08:00:00+08:00',
    event_type: 'TRANSACTION.SUCCESS',
    resource_type: 'encrypt-resource',
    resource: { original_type: 'transaction', algorithm: 'AEAD_AES_256_GCM' }
  })
  t.match(open(json.resource), {
    mchid: secrets.mchid,
    appid: app.appid,
    out_trade_no: 'T20250101_0001',
    transaction_id: paid.transactionId,
    trade_state: 'SUCCESS',
    attach: 'a',
    payer: { openid: /^oUp/ },
    amount: { total: 100, payer_total: 100, currency: 'CNY', payer_currency: 'CNY' }
  })
})

t.test('pay() repeats a notice under the same id, each time signed anew', async (t) => {
  const { pay, advance } = await ordered(t)
  const first = await pay({ times: 3 })
  advance(60_000)
  const later = await pay({ times: 2, concurrent: true })
  const all = [...first, ...later]
  t.equal(all.length, 5)
  t.equal(new Set(all.map(({ json }) => json.id)).size, 1)
  t.equal(new Set(all.map(({ headers }) => headers.get('wechatpay-signature'))).size, 5)
  t.ok(all.every(({ headers, text }) => holds(headers, text, certificate.certificatePem)))
  const seconds = all.map(({ headers }) => Number(headers.get('wechatpay-timestamp')))
  t.equal((seconds.at(-1) ?? 0) - (seconds[0] ?? 0), 60)
  t.same(await pay({ times: 0 }), [], 'WeChat says nothing')
})

t.test('pay() repeats what was not taken, as often as it is told', async (t) => {
  const { pay, received } = await ordered(t, [500, 202, 200])
  t.equal((await pay({ retries: 15 })).length, 3, 'until 200 or 204')
  const silent = await ordered(t, [500, 500, 500])
  t.equal((await silent.pay({ retries: 2, retryScale: 0.0001 })).length, 3, 'and no longer')
  t.equal(new Set(received.map(({ json }) => json.id)).size, 1)
  t.equal(RETRY_PAUSES_SECONDS.length, 15)
  t.equal(
    RETRY_PAUSES_SECONDS.reduce((sum, seconds) => sum + seconds),
    24 * 3600 + 4 * 60
  )
})

t.test('pay() signs with the key that it is told, retired and unknown ones too', async (t) => {
  const { pay, sandbox } = await ordered(t)
  const asked = only(await pay({ signBy: 'public-key' }))
  t.equal(asked.headers.get('wechatpay-serial'), secrets.publicKeyId)
  t.ok(holds(asked.headers, asked.text, publicKeyPem))
  const old = new X509Certificate(certificate.certificatePem).serialNumber
  for (const stage of ['listed', 'new', 'ended'] as const) sandbox.rotateCertificate({ mchid: secrets.mchid, stage })
  const renewed = only(await pay())
  t.notOk(holds(renewed.headers, renewed.text, certificate.certificatePem))
  const retired = only(await pay({ signBy: old }))
  t.equal(retired.headers.get('wechatpay-serial'), old)
  t.ok(holds(retired.headers, retired.text, certificate.certificatePem))
  const strange = only(await pay({ signBy: 'unknown-certificate' }))
  t.match(strange.headers.get('wechatpay-serial'), /^[0-9A-F]{40}$/)
  t.match(only(await pay({ signBy: 'unknown-public-key' })).headers.get('wechatpay-serial'), /^PUB_KEY_ID_\d{40}$/)
  await t.rejects(pay({ signBy: 'nobody' }), /no platform key nobody/)
})

t.test('pay() spoils a notice as it is told', async (t) => {
  const { pay, now, sandbox } = await ordered(t)
  const isAuthentic = ({ headers, text }: Received) => holds(headers, text, certificate.certificatePem)
  const probes = await pay({ signTests: 1, times: 2 })
  t.same(probes.map(isAuthentic), [false, true])
  t.match(probes[0]?.headers.get('wechatpay-signature'), /^WECHATPAY\/SIGNTEST\//)
  const skewed = only(await pay({ skewSeconds: -300 }))
  t.equal(Number(skewed.headers.get('wechatpay-timestamp')), now() / 1000 - 300)
  t.ok(isAuthentic(skewed))
  t.notOk(isAuthentic(only(await pay({ signature: 'wrong' }))))
  t.equal(only(await pay({ signature: 'absent' })).headers.get('wechatpay-serial'), null)

  const overridden = only(await pay({ overrides: { amount: { total: 1 }, appid: 'wxother', attach: null } }))
  t.ok(isAuthentic(overridden))
  t.match(open(overridden.json.resource), { amount: { total: 1, payer_total: 100 }, appid: 'wxother' })
  t.notOk('attach' in open(overridden.json.resource))
  t.equal(sandbox.order('T20250101_0001').totalFen, 100)
  const event = only(await pay({ envelope: { event_type: 'COUPON.USE', resource: { algorithm: 'X' } } }))
  t.ok(isAuthentic(event))
  t.match(event.json, { event_type: 'COUPON.USE', resource: { algorithm: 'X', original_type: 'transaction' } })
  const otherKey = 'x'.repeat(32)
  const sealed = only(await pay({ sealKey: otherKey }))
  t.ok(isAuthentic(sealed))
  t.throws(() => open(sealed.json.resource))
  t.match(open(sealed.json.resource, otherKey), { trade_state: 'SUCCESS' })
  await t.rejects(pay({ sealKey: 'short' }), /32 bytes/)
  t.match(open(only(await pay({ plaintext: '[1]' })).json.resource), [1])
  const text = only(await pay({ body: 'no JSON' }))
  t.equal(text.text, 'no JSON')
  t.ok(isAuthentic(text))
  const tampered = only(await pay({ tamper: { summary: 'x' } }))
  t.equal(tampered.json.summary, 'x')
  t.notOk(isAuthentic(tampered))
  const headers = only(await pay({ headers: { 'Wechatpay-Nonce': null, 'X-More': '1' } })).headers
  t.same([headers.get('wechatpay-nonce'), headers.get('x-more')], [null, '1'])
  await t.rejects(pay({ cdata: false }), /cdata does not fit/)
})

async function refunded(t: Test, refundBody: Json = {}, answers: number[] = []) {
  const world = await ordered(t, answers)
  await world.pay({ times: 0 })
  const amount = { refund: 30, total: 100, currency: 'CNY' }
  const body = { out_trade_no: 'T20250101_0001', out_refund_no: 'R1', notify_url: world.url, amount, ...refundBody }
  await world.call('POST', '/v3/refund/domestic/refunds', body)
  const refund = async (changes: Omit<RefundInput, 'outRefundNo'> = {}) => {
    const before = world.received.length
    await world.sandbox.refund({ outRefundNo: 'R1', ...changes })
    return world.received.slice(before)
  }
  return { ...world, refund }
}

t.test('refund() tells of a result; abnormal may still become a success', async (t) => {
  const { refund, sandbox, advance } = await refunded(t)
  const abnormal = only(await refund({ status: 'ABNORMAL' }))
  t.ok(holds(abnormal.headers, abnormal.text, certificate.certificatePem))
  t.match(abnormal.json, { event_type: 'REFUND.ABNORMAL', resource: { original_type: 'refund' } })
  const fields = open(abnormal.json.resource)
  t.match(fields, {
    mchid: secrets.mchid,
    out_refund_no: 'R1',
    refund_id: sandbox.order('T20250101_0001').refunds[0]?.refundId,
    refund_status: 'ABNORMAL',
    amount: { total: 100, refund: 30, payer_total: 100, payer_refund: 30 }
  })
  t.notOk('appid' in fields || 'success_time' in fields || 'status' in fields)
  advance(1000)
  const success = only(await refund({ signBy: 'public-key' }))
  t.ok(holds(success.headers, success.text, publicKeyPem))
  t.match(success.json, { event_type: 'REFUND.SUCCESS' })
  t.not(success.json.id, abnormal.json.id)
  t.match(open(success.json.resource), { refund_status: 'SUCCESS', success_time: '2025-01-01T08:00:01+08:00' })
  t.equal(only(await refund()).json.id, success.json.id, 'the same result again is the same notification')
  t.match(sandbox.order('T20250101_0001'), { state: 'REFUND', refunds: [{ state: 'SUCCESS' }] })
  await t.rejects(refund({ status: 'CLOSED' }), /final/)
  const late = only(await refund({ status: 'ABNORMAL', noticeOnly: true }))
  t.equal(late.json.id, abnormal.json.id)
  t.equal(sandbox.order('T20250101_0001').refunds[0]?.state, 'SUCCESS')
  await t.rejects(sandbox.refund({ outRefundNo: 'R9' }), /no refund R9/)
})

t.test('refund() closes one, in silence where it is told', async (t) => {
  const { refund, sandbox } = await refunded(t)
  t.same(await refund({ status: 'CLOSED', times: 0 }), [])
  t.match(sandbox.order('T20250101_0001'), { state: 'SUCCESS', refunds: [{ state: 'CLOSED' }] })
  const answer = await postJson(`${sandbox.origin}/sandbox/refund`, { outRefundNo: 'R1', status: 'CLOSED' })
  t.match(answer, { outRefundNo: 'R1', refundId: /^5030/, status: 'CLOSED', notices: [{ status: 204 }] })
})

t.test('place() makes an order that the merchant knows nothing of', async (t) => {
  const { sandbox } = await buildPay(t)
  const { url, received } = await notified(t)
  const order = {
    api: 'v3',
    appid: app.appid,
    mchid: secrets.mchid,
    outTradeNo: 'foreign-1',
    totalFen: 5,
    notifyUrl: url
  } as const
  const { prepayId } = await postJson(`${sandbox.origin}/sandbox/orders`, order)
  await sandbox.pay({ prepayId: String(prepayId) })
  t.match(open(only(received).json.resource), { out_trade_no: 'foreign-1', amount: { total: 5 } })
  t.throws(() => sandbox.place(order), /is taken/)
  t.throws(() => sandbox.place({ ...order, appid: 'wx9' }), /bound to wx9/)
})
