/**
 * The rest of APIv2 at the sandbox, with tenpay as client: query, close, refunds by mutual TLS, refund notices, bills.
 */
import { createRequire } from 'node:module'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { makeCertified, type Sandbox, type SandboxOptions } from '../../sandbox/index.ts'
import { sealReqInfo } from '../../sandbox/wire/req-info.ts'
import { vectors } from '../vectors.ts'
import { KEY, signed, xmlFields, xmlOf } from './client.ts'
import { app, buildPay, type Json, merchant, notified, secrets } from './pay-client.ts'

const HOUR_MS = 3600 * 1000

interface Tenpay {
  urls: Record<string, string>
  unifiedOrder(fields: Json): Promise<Json>
  orderQuery(fields: Json): Promise<Json>
  closeOrder(fields: Json): Promise<Json>
  refund(fields: Json): Promise<Json>
  refundQuery(fields: Json): Promise<Json>
  downloadBill(fields: Json, format?: boolean): Promise<Json>
  _parse(xml: string, type: string): Promise<Json>
}
const Tenpay: new (config: object) => Tenpay = createRequire(import.meta.url)('tenpay')

/** It knows WeChat's own addresses only. */
function clientOf({ origin }: Sandbox): Tenpay {
  const client = new Tenpay({
    appid: app.appid,
    mchid: secrets.mchid,
    partnerKey: secrets.apiV2Key,
    pfx: Buffer.alloc(0)
  })
  for (const [name, url] of Object.entries(client.urls)) client.urls[name] = `${origin}${new URL(url).pathname}`
  return client
}

const ORDER = { out_trade_no: 'T20250101_0001', body: 'x', total_fee: 100, openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' }
const NUMBER = { out_trade_no: ORDER.out_trade_no }
const REFUND = { ...NUMBER, out_refund_no: 'R1', total_fee: 100, refund_fee: 60 }

async function paid(t: Test, options: Partial<SandboxOptions> = {}) {
  const world = await buildPay(t, options)
  const client = clientOf(world.sandbox)
  const { prepay_id: prepayId } = await client.unifiedOrder({ ...ORDER, notify_url: 'https://pay.example.com/n' })
  const { transactionId } = await world.sandbox.pay({ prepayId, times: 0 })
  return { ...world, client, prepayId, transactionId }
}

t.test('orderquery tells the order in both signatures, by either number', async (t) => {
  const { sandbox } = await buildPay(t)
  const client = clientOf(sandbox)
  await t.rejects(client.orderQuery(NUMBER), { message: 'ORDERNOTEXIST' })
  const order = { ...ORDER, notify_url: 'https://pay.example.com/n', attach: 'a', sign_type: 'HMAC-SHA256' }
  const { prepay_id: prepayId } = await client.unifiedOrder(order)
  const unpaid = await client.orderQuery({ ...NUMBER, sign_type: 'HMAC-SHA256' })
  t.match(unpaid, { trade_state: 'NOTPAY', attach: 'a' })
  t.notOk('transaction_id' in unpaid)
  const { transactionId } = await sandbox.pay({ prepayId, times: 0 })
  for (const number of [NUMBER, { transaction_id: transactionId }])
    t.match(await client.orderQuery(number), {
      trade_state: 'SUCCESS',
      total_fee: '100',
      transaction_id: transactionId,
      openid: ORDER.openid,
      time_end: '20250101080000'
    })
  sandbox.fault({ api: 'orderquery', overrides: { trade_state: 'REVOKED', openid: null } })
  t.match(await client.orderQuery(NUMBER), { trade_state: 'REVOKED', openid: undefined })
  for (const signature of ['absent', 'wrong', 'body'] as const) {
    sandbox.fault({ api: 'orderquery', signature })
    await t.rejects(client.orderQuery(NUMBER), { message: 'sign签名错误' })
  }
  sandbox.fault({ api: 'orderquery', errcode: 'SYSTEMERROR' })
  await t.rejects(client.orderQuery(NUMBER), { message: 'SYSTEMERROR' })
})

t.test('closeorder closes what is unpaid, once', async (t) => {
  const { sandbox, client } = await paid(t)
  await t.rejects(client.closeOrder(NUMBER), { message: 'ORDERPAID' })
  await t.rejects(client.closeOrder({ out_trade_no: 'T0000000' }), { message: 'ORDERNOTEXIST' })
  const order = { ...ORDER, out_trade_no: 'T20250101_0002', notify_url: 'https://pay.example.com/n' }
  await client.unifiedOrder(order)
  t.match(await client.closeOrder({ out_trade_no: order.out_trade_no }), { result_code: 'SUCCESS' })
  t.match(await client.orderQuery({ out_trade_no: order.out_trade_no }), { trade_state: 'CLOSED' })
  t.equal(sandbox.order('T20250101_0002').state, 'CLOSED')
  await t.rejects(client.closeOrder({ out_trade_no: order.out_trade_no }), { message: 'ORDERCLOSED' })
  await t.rejects(client.unifiedOrder(order), { message: 'ORDERCLOSED' })
})

t.test('refunds and their query follow the rules of v3 in the words of v2', async (t) => {
  const { sandbox, client, transactionId } = await paid(t)
  await t.rejects(client.refund({ ...REFUND, out_trade_no: 'T0000000' }), { message: 'ORDERNOTEXIST' })
  await t.rejects(client.refundQuery({ out_refund_no: 'R1' }), { message: 'REFUNDNOTEXIST' })
  const accepted = await client.refund({ ...REFUND, sign_type: 'HMAC-SHA256' })
  t.match(accepted, { refund_id: /^5030\d{25}$/, transaction_id: transactionId, refund_fee: '60', total_fee: '100' })
  t.equal((await client.refund(REFUND)).refund_id, accepted.refund_id)
  await t.rejects(client.refund({ ...REFUND, refund_fee: 61 }), { message: 'REFUND_FEE_MISMATCH' })
  await t.rejects(client.refund({ ...REFUND, out_refund_no: 'R2', refund_fee: 41 }), { message: 'ERROR' })
  await t.rejects(client.refund({ ...REFUND, out_refund_no: 'R2', total_fee: 99 }), { message: 'PARAM_ERROR' })
  await t.rejects(client.refund({ ...REFUND, out_refund_no: 'R2', refund_fee: '1.5' }), { message: 'PARAM_ERROR' })
  await client.refund({ ...REFUND, out_refund_no: 'R2', refund_fee: 40 })
  await sandbox.refund({ outRefundNo: 'R2', status: 'ABNORMAL' })
  await sandbox.refund({ outRefundNo: 'R1' })
  t.match(await client.refundQuery(NUMBER), {
    refund_count: '2',
    out_refund_no_0: 'R1',
    refund_status_0: 'SUCCESS',
    refund_success_time_0: '2025-01-01 08:00:00',
    refund_status_1: 'CHANGE',
    refund_fee_1: '40'
  })
  t.match(await client.refundQuery({ refund_id: accepted.refund_id }), { refund_count: '1', out_refund_no_0: 'R1' })
  t.match(await client.refundQuery({ ...NUMBER, offset: 1 }), { refund_count: '1', out_refund_no_0: 'R2' })
  t.match(await client.orderQuery(NUMBER), { trade_state: 'REFUND' })
  t.match(sandbox.calls().at(-4), { api: 'refundquery', outTradeNo: NUMBER.out_trade_no, errcode: 0 })
})

interface RefundCase {
  name: string
  input: { body: string; key: string }
  expected: { verdict: string; plaintext?: string }
}

t.test('sealReqInfo() reproduces the published notices', async (t) => {
  const { cases } = vectors<{ cases: RefundCase[] }>('pay-v2-refund-notify')
  const good = cases.filter(({ expected }) => expected.verdict === 'accept')
  t.equal(good.length, 5)
  for (const { name, input, expected } of good)
    t.match(input.body, sealReqInfo(input.key, expected.plaintext ?? 'none'), name)
})

t.test('refund() tells of a v2 refund in XML that tenpay opens', async (t) => {
  const { sandbox, client } = await paid(t)
  const { url, received } = await notified(t)
  await client.refund({ ...REFUND, notify_url: url })
  const opened = async () => {
    const { req_info: info, ...outer } = await client._parse(received.at(-1)?.text ?? '', 'middleware_refund')
    return { outer, info }
  }
  for (const [status, word] of [
    ['ABNORMAL', 'CHANGE'],
    ['SUCCESS', 'SUCCESS']
  ] as const) {
    await sandbox.refund({ outRefundNo: 'R1', status })
    const { outer, info } = await opened()
    t.match(outer, { return_code: 'SUCCESS', appid: app.appid, mch_id: secrets.mchid })
    t.match(info, { out_refund_no: 'R1', refund_status: word, refund_fee: '60', total_fee: '100' })
    t.equal(info.success_time, status === 'SUCCESS' ? '2025-01-01 08:00:00' : undefined)
  }
  t.equal(received[0]?.headers.get('content-type'), 'text/xml')
  await sandbox.refund({ outRefundNo: 'R1', overrides: { refund_fee: 1 }, envelope: { appid: null }, cdata: false })
  const spoilt = received.at(-1)?.text ?? ''
  t.notMatch(spoilt, /appid|CDATA/)
  await sandbox.refund({ outRefundNo: 'R1', sealKey: KEY })
  await t.rejects(opened(), 'sealed under another key')
  await t.rejects(sandbox.refund({ outRefundNo: 'R1', signBy: 'public-key' }), /signBy does not fit/)
})

t.test('a v3 refund without notify_url is told in XML where the merchant platform says', async (t) => {
  const { url, received } = await notified(t)
  const { sandbox, call, client } = await paid(t, { merchants: [{ ...merchant, refundNotifyUrl: url }] })
  const body = { ...NUMBER, out_refund_no: 'R1', amount: { refund: 1, total: 100, currency: 'CNY' } }
  t.equal((await call('POST', '/v3/refund/domestic/refunds', body)).status, 200, 'v2 and v3 share orders')
  await sandbox.refund({ outRefundNo: 'R1' })
  const { req_info: info } = await client._parse(received[0]?.text ?? '', 'middleware_refund')
  t.match(info, { refund_status: 'SUCCESS', refund_fee: '1' })
})

t.test('by TLS a refund needs the very certificate of the merchant', async (t) => {
  const { sandbox, transactionId } = await paid(t, { tls: {} })
  const { tlsOrigin = '', tlsCertificatePem: ca = '' } = sandbox
  const fields = {
    appid: app.appid,
    mch_id: secrets.mchid,
    nonce_str: 'n',
    transaction_id: transactionId,
    out_refund_no: 'R1',
    total_fee: '100',
    refund_fee: '1'
  }
  const body = xmlOf({ ...fields, sign: signed(fields, secrets.apiV2Key) })
  const refund = async (origin: string, connect: object) => {
    const dispatcher = new Agent({ connect })
    t.teardown(() => dispatcher.close())
    const answer = await request(`${origin}/secapi/pay/refund`, { method: 'POST', body, dispatcher })
    return { status: answer.statusCode, body: await answer.body.text() }
  }
  const stranger = makeCertified({ commonName: secrets.mchid })
  const refused = { status: 400, body: /No required SSL certificate/ }
  t.match(await refund(sandbox.origin, {}), refused, 'plain http')
  t.match(await refund(tlsOrigin, { ca }), refused, 'no certificate')
  t.match(await refund(tlsOrigin, { ca, cert: stranger.certificatePem, key: stranger.privateKeyPem }), refused)
  t.match(sandbox.calls().at(-1), { api: 'refund', httpStatus: 400, clientCertSerial: stranger.serial })
  const { status, body: xml } = await refund(tlsOrigin, {
    ca,
    cert: secrets.certificatePem,
    key: secrets.privateKeyPem
  })
  t.equal(status, 200)
  t.match(xmlFields(xml), { result_code: 'SUCCESS', out_refund_no: 'R1' })
  t.match(sandbox.calls().at(-1), {
    api: 'refund',
    errcode: 0,
    outRefundNo: 'R1',
    clientCertSerial: secrets.certSerial
  })
  await t.rejects(refund(tlsOrigin, {}), 'the certificate of the sandbox has to be trusted')
})

t.test('downloadbill is CSV, gzip, or XML that says why not', async (t) => {
  const { sandbox, client, advance } = await paid(t)
  const date = { bill_date: '20250101' }
  await t.rejects(client.downloadBill(date), { message: 'Bill Creating' })
  advance(26 * HOUR_MS)
  const { list_title, list_data, total_data } = await client.downloadBill(date, true)
  t.equal(list_title.length, 27)
  t.match(list_data, [{ 6: NUMBER.out_trade_no, 12: '1.00' }])
  t.same(total_data, ['1', '1.00', '0.00', '0.00', '0.00600', '1.00', '0.00'])
  await t.rejects(client.downloadBill({ bill_date: '20241231' }), { message: 'NO Bill Exist' })
  await t.rejects(client.downloadBill({ bill_date: '2025-01-01' }), { message: /bill_date/ })
  sandbox.fault({ api: 'downloadbill', errmsg: 'CompressGZip Error' })
  await t.rejects(client.downloadBill(date), { message: 'CompressGZip Error' })
  const fields = { appid: app.appid, mch_id: secrets.mchid, nonce_str: 'n', tar_type: 'GZIP', ...date }
  const body = xmlOf({ ...fields, sign: signed(fields, secrets.apiV2Key) })
  const zipped = await fetch(`${sandbox.origin}/pay/downloadbill`, { method: 'POST', body })
  t.match(gunzipSync(await zipped.bytes()).toString(), NUMBER.out_trade_no)
})
