/** The sandbox as api.mch.weixin.qq.com, APIv3: signatures both ways, orders, refunds, certificates, bills. */
import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { makeCertified, startSandbox } from '../../sandbox/index.ts'
import { readAuthorization, requestHolds, signMessage } from '../../sandbox/wire/v3-signature.ts'
import { vectors } from '../vectors.ts'
import { app, buildPay, holds, type Json, merchant, orderBody, sdk, secrets } from './pay-client.ts'

const HOUR_MS = 3600 * 1000
const PREPAY = '/v3/pay/transactions/jsapi'
const ORDER = '/v3/pay/transactions/out-trade-no/T20250101_0001'
const QUERY = `${ORDER}?mchid=${secrets.mchid}`
const REFUNDS = '/v3/refund/domestic/refunds'
const [certificate = { certificatePem: '', privateKeyPem: '' }] = merchant.v3?.certificates ?? []
const publicKeyMode = { headers: { 'wechatpay-serial': secrets.publicKeyId ?? '' } }

interface SignCase {
  name: string
  input: { method: string; url: string; timestamp: string; nonce: string; body: string; publicKeyPem?: string }
  expected: { signature: string }
}
interface Keys {
  merchant: { publicPem: string }
}

t.test('requestHolds() takes every published request signature, and none for another body', async (t) => {
  const { merchant } = vectors<Keys>('pay-keys')
  const { cases } = vectors<{ cases: SignCase[] }>('pay-v3-request-sign')
  t.equal(cases.length, 10)
  for (const { name, input, expected } of cases) {
    const key = createPublicKey(input.publicKeyPem ?? merchant.publicPem)
    const { method, url, timestamp, nonce: nonce_str } = input
    const authorization = { mchid: '', serial_no: '', timestamp, nonce_str, signature: expected.signature }
    t.ok(requestHolds({ method, url, body: Buffer.from(input.body) }, authorization, key), name)
    t.notOk(requestHolds({ method, url, body: Buffer.from(`${input.body} `) }, authorization, key), name)
  }
})

t.test('readAuthorization() takes the fields in any order, and no other form', async (t) => {
  const fields = 'serial_no="C",mchid="1",nonce_str="n",timestamp="2",signature="s=="'
  const expected = { serial_no: 'C', mchid: '1', nonce_str: 'n', timestamp: '2', signature: 's==' }
  t.same(readAuthorization(`WECHATPAY2-SHA256-RSA2048 ${fields}`), expected)
  for (const wrong of [undefined, fields, `Bearer ${fields}`, `WECHATPAY2-SHA256-RSA2048 ${fields},mchid="2"`])
    t.equal(readAuthorization(wrong), undefined)
  t.equal(readAuthorization(`WECHATPAY2-SHA256-RSA2048 ${fields.replace('mchid="1",', '')}`), undefined)
})

t.test('signMessage() and the certificates made here satisfy the SDK and node:crypto', async (t) => {
  const { certificatePem, privateKeyPem, serial } = makeCertified({
    serial: `00${'B'.repeat(38)}`,
    altNames: ['localhost', '127.0.0.1']
  })
  const x509 = new X509Certificate(certificatePem)
  t.equal(x509.serialNumber.padStart(40, '0'), serial)
  t.ok(x509.verify(x509.publicKey))
  t.equal(x509.checkHost('localhost'), 'localhost')
  t.equal(x509.checkIP('127.0.0.1'), '127.0.0.1')
  const signature = signMessage(sdk.Rsa.from(privateKeyPem, 'private') as never, 1, 'n', '{}')
  t.ok(sdk.Rsa.verify('1\nn\n{}\n', signature, sdk.Rsa.from(certificatePem, 'public')))
})

t.test('an SDK orders, queries, refunds and closes', async (t) => {
  const { origin, ...sandbox } = await startSandbox({ apps: [app], merchants: [merchant] })
  t.teardown(() => sandbox.close())
  const pay = new sdk.Wechatpay({
    mchid: secrets.mchid,
    serial: secrets.certSerial,
    privateKey: secrets.privateKeyPem,
    certs: { [secrets.publicKeyId ?? '']: secrets.publicKeyPem },
    baseURL: origin,
    headers: { 'Wechatpay-Serial': secrets.publicKeyId }
  })
  const { data } = await pay.v3.pay.transactions.jsapi.post(orderBody())
  await sandbox.pay({ prepayId: data.prepay_id, times: 0 })
  const query = { params: { mchid: secrets.mchid }, out_trade_no: 'T20250101_0001' }
  const paid = await pay.v3.pay.transactions.outTradeNo._out_trade_no_.get(query)
  t.match(paid.data, { trade_state: 'SUCCESS', payer: { openid: /^oUp/ } })
  const refund = {
    out_trade_no: 'T20250101_0001',
    out_refund_no: 'R@1',
    amount: { refund: 1, total: 100, currency: 'CNY' }
  }
  t.match((await pay.v3.refund.domestic.refunds.post(refund)).data, { status: 'PROCESSING', out_refund_no: 'R@1' })
  await pay.v3.pay.transactions.jsapi.post(orderBody({ out_trade_no: 'T20250101_0002' }))
  const close = { out_trade_no: 'T20250101_0002' }
  const closed = await pay.v3.pay.transactions.outTradeNo._out_trade_no_.close.post({ mchid: secrets.mchid }, close)
  t.equal(closed.status, 204)
  t.equal(sandbox.order('T20250101_0002').state, 'CLOSED')
})

t.test('a request that is not proven is 401 SIGN_ERROR, unsigned', async (t) => {
  const { call, sandbox } = await buildPay(t)
  const wrong: [string, Parameters<typeof call>][] = [
    ['signature', ['POST', PREPAY, orderBody(), { signedBody: '{}' }]],
    ['authorization', ['POST', PREPAY, orderBody(), { headers: { authorization: 'Bearer x' } }]],
    ['mchid', ['GET', QUERY, undefined, { mchid: '1900000999' }]],
    ['serial_no', ['GET', QUERY, undefined, { serial: 'A'.repeat(40) }]],
    ['timestamp', ['GET', QUERY, undefined, { skewSeconds: 301 }]],
    ['timestamp', ['GET', QUERY, undefined, { skewSeconds: -301 }]]
  ]
  for (const [field, request] of wrong) {
    const { status, json, headers } = await call(...request)
    t.match(
      { status, json },
      { status: 401, json: { code: 'SIGN_ERROR', detail: { field, location: 'authorization' } } }
    )
    t.equal(headers.get('wechatpay-signature'), null)
    t.match(headers.get('request-id'), /^[0-9A-F]{40}$/)
  }
  const nameless = await call('GET', QUERY, undefined, { headers: { 'user-agent': '' } })
  t.match(nameless, { status: 400, json: { code: 'INVALID_REQUEST', message: /User-Agent/ } })
  t.equal((await call('GET', PREPAY)).status, 405)
  t.equal((await call('GET', QUERY, undefined, { skewSeconds: 300 })).status, 404)
  t.match(sandbox.calls()[0], { api: 'v3_prepay', errcode: 'SIGN_ERROR', httpStatus: 401, mchid: secrets.mchid })
})

t.test('answers are signed with the key that the request asks for', async (t) => {
  const { order, call } = await buildPay(t)
  const plain = await order()
  t.ok(holds(plain.headers, plain.text, certificate.certificatePem))
  const asked = await call('POST', PREPAY, orderBody(), publicKeyMode)
  t.equal(asked.headers.get('wechatpay-serial'), secrets.publicKeyId)
  t.ok(holds(asked.headers, asked.text, secrets.publicKeyPem ?? ''))
  t.notOk(holds(asked.headers, `${asked.text} `, secrets.publicKeyPem ?? ''))
  const closed = await call('POST', `${ORDER}/close`, { mchid: secrets.mchid }, publicKeyMode)
  t.equal(closed.status, 204)
  t.ok(holds(closed.headers, '', secrets.publicKeyPem ?? ''), 'an answer without a body is signed too')
})

t.test('prepay says which field is wrong', async (t) => {
  const { order, sandbox } = await buildPay(t, { apps: [app, { appid: 'wx0000000000000009', secret: 'x' }] })
  sandbox.login({ appid: 'wx0000000000000009', openid: 'oOfAnother' })
  const wrong: [string, Json][] = [
    ['/appid', { appid: undefined }],
    ['/description', { description: '中'.repeat(128) }],
    ['/description', { description: 'smile 😀' }],
    ['/out_trade_no', { out_trade_no: 'short' }],
    ['/notify_url', { notify_url: 'https://pay.example.com/?a=1' }],
    ['/amount/total', { amount: { total: 0 } }],
    ['/amount/total', { amount: { total: '100' } }],
    ['/payer', { payer: null }],
    ['/time_expire', { time_expire: 'tomorrow' }],
    ['/time_expire', { time_expire: '2025-01-01T08:01:00+08:00' }]
  ]
  for (const [field, changes] of wrong) {
    const { status, json } = await order(changes)
    t.match({ status, json }, { status: 400, json: { code: 'PARAM_ERROR', detail: { field } } }, field)
  }
  t.match((await order({ mchid: '1900000999' })).json, { code: 'PARAM_ERROR' })
  t.match((await order({ payer: { openid: 'oOfAnother' } })).json, { code: 'PARAM_ERROR' })
  t.match((await order({ appid: 'wx0000000000000009' })).json, { code: 'APPID_MCHID_NOT_MATCH' })
  t.equal((await order({ description: '中'.repeat(127), notify_url: 'http://127.0.0.1/n' })).status, 200)
})

t.test('prepay may be repeated as it was, until the order is paid or closed', async (t) => {
  const { order, call, sandbox, advance } = await buildPay(t)
  const first = (await order()).json.prepay_id
  t.match(first, /^wx[0-9a-f]{34}$/)
  const again = await order({ time_expire: '2025-01-02T08:00:00+08:00' })
  t.match(again, { status: 200, json: { prepay_id: /^wx/ } })
  t.not(again.json.prepay_id, first)
  t.match(await order({ description: 'other' }), { status: 400, json: { code: 'INVALID_REQUEST' } })
  sandbox.place({
    api: 'v2',
    appid: app.appid,
    mchid: secrets.mchid,
    outTradeNo: 'ofVersion2',
    totalFen: 100,
    notifyUrl: ''
  })
  t.match(await order({ out_trade_no: 'ofVersion2' }), { status: 403, json: { code: 'OUT_TRADE_NO_USED' } })
  await sandbox.pay({ prepayId: first, times: 0 })
  t.match(await order(), { status: 400, json: { code: 'INVALID_REQUEST', message: '该订单已支付' } })
  t.match(await call('POST', `${ORDER}/close`, { mchid: secrets.mchid }), { status: 400, json: { code: 'ORDER_PAID' } })

  const { prepay_id: prepayId } = (await order({ out_trade_no: 'T20250101_0002' })).json
  const close = '/v3/pay/transactions/out-trade-no/T20250101_0002/close'
  for (const _ of ['close', 'and again']) t.equal((await call('POST', close, { mchid: secrets.mchid })).status, 204)
  t.match((await order({ out_trade_no: 'T20250101_0002' })).json, { code: 'ORDER_CLOSED' })
  await t.rejects(sandbox.pay({ prepayId }), /closed/)
  await order({ out_trade_no: 'T20250101_0003' })
  advance(7 * 24 * HOUR_MS)
  t.equal(sandbox.order('T20250101_0003').state, 'CLOSED', 'nobody paid for a week')
})

t.test('queries tell the order by either number', async (t) => {
  const { order, call, sandbox } = await buildPay(t)
  t.match(await call('GET', QUERY), { status: 404, json: { code: 'ORDER_NOT_EXIST' } })
  const { prepay_id: prepayId } = (await order({ attach: 'a,b' })).json
  const { json: unpaid } = await call('GET', QUERY)
  t.match(unpaid, {
    trade_state: 'NOTPAY',
    appid: app.appid,
    mchid: secrets.mchid,
    amount: { total: 100 },
    attach: 'a,b'
  })
  t.notOk('transaction_id' in unpaid)
  const { transactionId } = await sandbox.pay({ prepayId, times: 0 })
  const { json: paid } = await call('GET', `/v3/pay/transactions/id/${transactionId}?mchid=${secrets.mchid}`)
  t.match(paid, {
    trade_state: 'SUCCESS',
    transaction_id: transactionId,
    success_time: '2025-01-01T08:00:00+08:00',
    amount: { total: 100, payer_total: 100, currency: 'CNY' },
    payer: { openid: /^oUp/ }
  })
  t.same((await call('GET', QUERY)).json, paid)
  t.match(await call('GET', ORDER), { status: 400, json: { code: 'PARAM_ERROR' } })
  t.match((await call('GET', `/v3/pay/transactions/id/1?mchid=${secrets.mchid}`)).json, { code: 'ORDER_NOT_EXIST' })
  await order({ out_trade_no: 'T|2025*01' })
  t.equal((await call('GET', `/v3/pay/transactions/out-trade-no/T%7C2025*01?mchid=${secrets.mchid}`)).status, 200)
})

t.test('refunds are idempotent by number and end where the money ends', async (t) => {
  const { order, call, sandbox, advance } = await buildPay(t)
  const refund = (changes: Json = {}) =>
    call('POST', REFUNDS, {
      out_trade_no: 'T20250101_0001',
      out_refund_no: 'R1',
      amount: { refund: 60, total: 100, currency: 'CNY' },
      ...changes
    })
  const amount = (part: number, total = 100) => ({ amount: { refund: part, total, currency: 'CNY' } })
  t.match(await refund(), { status: 404, json: { code: 'RESOURCE_NOT_EXISTS' } })
  const { prepay_id: prepayId } = (await order()).json
  t.match(await refund(), { status: 400, json: { code: 'INVALID_REQUEST', message: /未支付/ } })
  const { transactionId } = await sandbox.pay({ prepayId, times: 0 })
  t.match(await call('GET', `${REFUNDS}/R1`), { status: 404, json: { code: 'RESOURCE_NOT_EXISTS' } })
  const { json: accepted } = await refund()
  t.match(accepted, { status: 'PROCESSING', out_refund_no: 'R1', transaction_id: transactionId, ...amount(60) })
  t.match(accepted.refund_id, /^5030\d{25}$/)
  t.same((await refund({ out_trade_no: undefined, transaction_id: transactionId })).json, accepted)
  t.match((await refund(amount(61))).json, { code: 'INVALID_REQUEST', message: /首次请求/ })
  t.match((await refund({ out_refund_no: 'R2', ...amount(41) })).json, { code: 'INVALID_REQUEST', message: /可退金额/ })
  t.match((await refund({ out_refund_no: 'R2', ...amount(1, 99) })).json, { code: 'INVALID_REQUEST' })
  t.match((await refund({ out_refund_no: 'R2', amount: { refund: 1, total: 100 } })).json, {
    detail: { field: '/amount/currency' }
  })
  t.equal((await refund({ out_refund_no: 'R2', ...amount(40) })).status, 200)
  t.match((await call('GET', QUERY)).json, { trade_state: 'REFUND' })
  await sandbox.refund({ outRefundNo: 'R2', status: 'CLOSED' })
  t.equal((await refund({ out_refund_no: 'R3', ...amount(40) })).status, 200, 'what was closed is there again')
  advance(1000)
  await sandbox.refund({ outRefundNo: 'R1' })
  t.match((await call('GET', `${REFUNDS}/R1`)).json, { status: 'SUCCESS', success_time: '2025-01-01T08:00:01+08:00' })
  advance(366 * 24 * HOUR_MS)
  t.match((await refund({ out_refund_no: 'R4', ...amount(1) })).json, { code: 'INVALID_REQUEST', message: /期限/ })
})

t.test('certificates open under the APIv3 key, and rotate stage by stage', async (t) => {
  const { call, sandbox } = await buildPay(t)
  const first = await call('GET', '/v3/certificates')
  t.equal(first.json.data.length, 1)
  const [{ serial_no: old, encrypt_certificate: sealed }] = first.json.data
  const pem = sdk.Aes.AesGcm.decrypt(sealed.ciphertext, secrets.apiV3Key, sealed.nonce, sealed.associated_data)
  t.equal(pem, certificate.certificatePem)
  t.equal(sealed.associated_data, 'certificate')
  t.ok(holds(first.headers, first.text, pem))

  const stage = (name: 'listed' | 'both' | 'new' | 'ended') =>
    sandbox.rotateCertificate({ mchid: secrets.mchid, stage: name })
  const signers = async () => {
    const [one, two] = [await call('GET', '/v3/certificates'), await call('GET', '/v3/certificates')]
    const names = [one, two].map(({ headers }) => headers.get('wechatpay-serial') ?? '')
    return { listed: one.json.data.map((entry: Json) => entry.serial_no), signing: [...new Set(names)].sort() }
  }
  t.throws(() => stage('new'), /no second certificate/)
  const { listed } = stage('listed')
  const next = listed[1] ?? ''
  t.same(await signers(), { listed: [old, next], signing: [old] })
  stage('both')
  t.same(await signers(), { listed: [old, next], signing: [old, next].sort() })
  stage('new')
  t.same(await signers(), { listed: [old, next], signing: [next] })
  t.same(stage('ended'), { listed: [next], signing: [next] })
  t.same(await signers(), { listed: [next], signing: [next] })
})

t.test('a merchant with the public key alone has no certificates', async (t) => {
  const { call } = await buildPay(t, {
    merchants: [{ ...merchant, v3: { ...merchant.v3, apiV3Key: secrets.apiV3Key, certificates: [] } }]
  })
  t.match(await call('GET', '/v3/certificates'), { status: 404, json: { code: 'RESOURCE_NOT_EXISTS' } })
  const { headers } = await call('POST', PREPAY, orderBody())
  t.equal(headers.get('wechatpay-serial'), secrets.publicKeyId)
})

t.test('startSandbox() refuses merchants whose keys are missing or short', async (t) => {
  const start = (v3: object, certificatePem = merchant.certificatePem) =>
    startSandbox({
      apps: [app],
      merchants: [
        {
          mchid: '1',
          apiV2Key: 'x',
          appids: [],
          ...(certificatePem && { certificatePem }),
          v3: { apiV3Key: secrets.apiV3Key, ...v3 }
        }
      ]
    })
  await t.rejects(start({}), { message: /needs a publicKey or certificates/ })
  await t.rejects(start({ ...merchant.v3, apiV3Key: 'short' }), { message: /32 bytes/ })
  await t.rejects(start({ ...merchant.v3 }, ''), { message: /certSerial and publicKeyPem/ })
})

t.test('bills hold what happened that day, for who asks signed', async (t) => {
  const { order, call, sandbox, advance } = await buildPay(t)
  const { prepay_id: prepayId } = (await order({ description: '甲,乙' })).json
  const { transactionId } = await sandbox.pay({ prepayId, times: 0 })
  await call('POST', REFUNDS, {
    transaction_id: transactionId,
    out_refund_no: 'R1',
    amount: { refund: 30, total: 100, currency: 'CNY' }
  })
  const trade = '/v3/bill/tradebill?bill_date=2025-01-01'
  t.match(await call('GET', trade), { status: 400, json: { code: 'STATEMENT_CREATING' } })
  advance(26 * HOUR_MS)
  t.match(await call('GET', '/v3/bill/tradebill?bill_date=2024-12-31'), {
    status: 400,
    json: { code: 'NO_STATEMENT_EXIST' }
  })
  for (const wrong of [
    'bill_date=2025-02-30',
    'bill_date=2025-01-01&bill_type=X',
    '',
    'bill_date=2025-01-01&tar_type=ZIP'
  ])
    t.match((await call('GET', `/v3/bill/tradebill?${wrong}`)).json, { code: 'PARAM_ERROR' }, wrong)

  const fetchBill = async (path: string) => {
    const { json } = await call('GET', path)
    const { pathname, search, origin } = new URL(json.download_url)
    t.equal(origin, sandbox.origin)
    const { bytes, headers } = await call('GET', `${pathname}${search}`)
    t.equal(headers.get('wechatpay-signature'), null, 'a file is not signed')
    return { json, bytes, path: `${pathname}${search}` }
  }
  const plain = await fetchBill(trade)
  t.equal(plain.json.hash_value, createHash('sha1').update(plain.bytes).digest('hex'))
  const lines = plain.bytes.toString().trim().split('\r\n')
  t.equal(lines.length, 5)
  t.match(lines[1], `\`2025-01-01 08:00:00,\`${app.appid},\`${secrets.mchid},`)
  t.match(lines[1], `,\`${transactionId},\`T20250101_0001,`)
  t.match(lines[2], /,`REFUND,.*,`R1,`0\.30,/)
  t.equal(lines[4], '`2,`1.00,`0.30,`0.00,`0.00420,`1.00,`0.30')
  const [published] = vectors<{ cases: { expected: { csv: string } }[] }>('pay-v3-bill').cases
  t.equal(lines[0], published?.expected.csv.split('\r\n')[0]?.trim())
  t.equal(lines[3], published?.expected.csv.split('\r\n')[2])

  const zipped = await fetchBill(`${trade}&tar_type=GZIP`)
  t.equal(zipped.json.hash_value, plain.json.hash_value, 'the hash is that of the bill before compression')
  t.same(gunzipSync(zipped.bytes), plain.bytes)
  t.match((await fetchBill(`${trade}&bill_type=REFUND`)).bytes.toString().trim().split('\r\n').length, 4)
  const flow = await fetchBill('/v3/bill/fundflowbill?bill_date=2025-01-01')
  t.match(flow.bytes.toString(), /`收入,`1\.00,`1\.00,[\s\S]*`支出,`0\.30,`0\.70,[\s\S]*`2,`1,`1\.00,`1,`0\.30\r\n$/)

  t.equal((await fetch(plain.json.download_url)).status, 401)
  advance(301_000)
  t.match(await call('GET', plain.path), { status: 400, json: { code: 'INVALID_REQUEST' } })
  advance(100 * 24 * HOUR_MS)
  t.match((await call('GET', trade)).json, { code: 'PARAM_ERROR', message: /三个月/ })
})

t.test('bill() arranges what a bill says, and whether there is one', async (t) => {
  const { call, sandbox } = await buildPay(t)
  const name = { mchid: secrets.mchid, kind: 'trade', date: '2025-01-01' } as const
  const path = '/v3/bill/tradebill?bill_date=2025-01-01'
  sandbox.bill({ ...name, csv: 'a,b\r\n' })
  t.equal((await call('GET', path)).json.hash_value, createHash('sha1').update('a,b\r\n').digest('hex'))
  sandbox.bill({ ...name, status: 'none' })
  t.match((await call('GET', path)).json, { code: 'NO_STATEMENT_EXIST' })
  sandbox.bill({ ...name, status: 'creating' })
  t.match((await call('GET', path)).json, { code: 'STATEMENT_CREATING' })
  t.throws(() => sandbox.bill({ ...name, mchid: '1' }), /no merchant/)
})

t.test('faults of APIv3 come with the status of their code, or spoil a good answer', async (t) => {
  const { order, call, sandbox } = await buildPay(t)
  const statuses = {
    SYSTEM_ERROR: 500,
    FREQUENCY_LIMITED: 429,
    NOT_ENOUGH: 403,
    PARAM_ERROR: 400,
    SERVICE_UNAVAILABLE: 503
  }
  for (const [errcode, status] of Object.entries(statuses)) {
    sandbox.fault({ api: 'v3_prepay', errcode })
    t.match(await order(), { status, json: { code: errcode, message: /./ } })
  }
  t.throws(() => sandbox.order('T20250101_0001'), 'nothing was done')
  sandbox.fault({ api: 'v3_refund', errcode: 'SYSTEM_ERROR', httpStatus: 202 })
  t.match(await call('POST', REFUNDS, {}), { status: 202, json: { code: 'SYSTEM_ERROR' } })

  const spoilt = async (signature: 'absent' | 'wrong' | 'body' | 'signtest' | 'unknown-serial' | 'stale' | 'ahead') => {
    sandbox.fault({ api: 'v3_prepay', signature })
    return call('POST', PREPAY, orderBody(), publicKeyMode)
  }
  const key = secrets.publicKeyPem ?? ''
  t.equal((await spoilt('absent')).headers.get('wechatpay-signature'), null)
  for (const fault of ['wrong', 'body', 'signtest', 'unknown-serial'] as const) {
    const { status, headers, text, json } = await spoilt(fault)
    t.equal(status, 200)
    t.notOk(holds(headers, text, key), fault)
    t.match(json.prepay_id, /^wx/, fault)
  }
  t.match((await spoilt('signtest')).headers.get('wechatpay-signature'), /^WECHATPAY\/SIGNTEST\/.{325}$/)
  t.not((await spoilt('unknown-serial')).headers.get('wechatpay-serial'), secrets.publicKeyId)
  for (const [fault, timestamp] of [
    ['stale', '1735689300'],
    ['ahead', '1735689901']
  ] as const) {
    const { headers, text } = await spoilt(fault)
    t.equal(headers.get('wechatpay-timestamp'), timestamp)
    t.ok(holds(headers, text, key), 'authentic all the same')
  }

  sandbox.fault({ api: 'v3_query', overrides: { trade_state: 'PAYERROR', amount: { total: 1 }, payer: null } })
  const { json, headers, text } = await call('GET', QUERY, undefined, publicKeyMode)
  t.match(json, { trade_state: 'PAYERROR', amount: { total: 1, currency: 'CNY' } })
  t.notOk('payer' in json)
  t.ok(holds(headers, text, key))
  sandbox.fault({ api: 'v3_close', reset: true })
  await t.rejects(call('POST', `${ORDER}/close`, { mchid: secrets.mchid }))
  t.equal(sandbox.order('T20250101_0001').state, 'CLOSED', 'the answer was lost, the work was done')
})
