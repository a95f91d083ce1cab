/**
 * The answers of WeChat Pay APIv3, against the published vectors: orders, refunds, errors, platform certificates,
 * bills.
 */
import { createCipheriv, createHash, createPrivateKey, createPublicKey, sign, X509Certificate } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { type ErrorCode, ServiceError } from '../../../lib/errors.ts'
import { ORDER_STATES, REFUND_STATES } from '../../../lib/pay/model.ts'
import { orderStateOfV2, refundStateOfV2 } from '../../../lib/pay/v2/facts.ts'
import { readBillV3, readOrderV3, readPrepayV3, readRefundAnswerV3 } from '../../../lib/pay/v3/api.ts'
import { openBillV3 } from '../../../lib/pay/v3/bill.ts'
import { openCertificateV3, readCertificatesV3 } from '../../../lib/pay/v3/certificates.ts'
import { platformKeysV3 } from '../../../lib/pay/v3/crypto.ts'
import { asServiceErrorV3, type CallV3, meaningV3, type RepeatV3, readErrorBodyV3 } from '../../../lib/pay/v3/errors.ts'
import { createApiV3Key } from '../../../lib/pay/v3/keys.ts'
import { readPaymentV3 } from '../../../lib/pay/v3/notices/payment.ts'
import { vectors } from '../../vectors.ts'

const keys = vectors('pay-keys')
const apiV3Key = createApiV3Key(keys.apiV3Key)
const certificates = vectors('pay-v3-certificates').cases
const [rotation, fromSdk, keyOnly] = certificates
const rotationMs = 1_770_000_000_000
const notices = vectors('pay-v3-notify').cases
const paid = notices[0].expected.resource
const bills = vectors('pay-v3-bill').cases

t.test('readPrepayV3() reads a prepay_id', async (t) => {
  t.strictSame(readPrepayV3(json({ prepay_id: 'wx01' })), { status: 'ok', answer: { prepayId: 'wx01' } })
  for (const change of [{}, { prepay_id: '' }, { prepay_id: 1 }])
    t.strictSame(readPrepayV3(json(change)), { status: 'bad', reason: 'prepay_id' })
  for (const text of ['', '<html>', '[]'])
    t.strictSame(readPrepayV3(Buffer.from(text)), { status: 'bad', reason: 'body' })
})

t.test('readOrderV3() reads a paid order as the contract shows it', async (t) => {
  const facts = {
    api: 'v3',
    appid: 'wx2421b1c4370ec43b',
    mchid: '1900000109',
    outTradeNo: 'T20250101_0001',
    transactionId: '4200002400202501011234567890',
    state: 'SUCCESS',
    amount: { total: 100, payerTotal: 90, currency: 'CNY' },
    openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
    successTime: '2025-01-01T00:01:05.000Z',
    attach: '甲&乙',
    bankType: 'OTHERS'
  }
  t.strictSame(orderOf(paid), { status: 'ok', answer: { ...facts, raw: paid } })
  t.match(readPaymentV3(paid), { status: 'payment', payment: { amount: { total: 100, payerTotal: 90 } } })
  t.match(orderOf({ ...paid, trade_state: 'REFUND' }), { status: 'ok', answer: { state: 'REFUND' } })
})

t.test('readOrderV3() reads an order that nobody paid, with what WeChat leaves empty', async (t) => {
  const { appid, mchid } = keys
  const unpaid = { appid, mchid, out_trade_no: 'T1', trade_state: 'NOTPAY', trade_state_desc: '订单未支付' }
  const unsaid = {
    transactionId: undefined,
    amount: undefined,
    openid: undefined,
    successTime: undefined,
    attach: undefined,
    bankType: undefined
  }
  const answer = { api: 'v3', appid, mchid, outTradeNo: 'T1', state: 'NOTPAY', ...unsaid }
  t.strictSame(orderOf(unpaid), { status: 'ok', answer: { ...answer, raw: unpaid } })
  const empty = { ...unpaid, attach: '', transaction_id: '', success_time: '', payer: {}, amount: { total: 1 } }
  t.strictSame(orderOf(empty), {
    status: 'ok',
    answer: { ...answer, amount: { total: 1, payerTotal: undefined, currency: 'CNY' }, raw: empty }
  })
})

t.test('readOrderV3() names the field that is not what it should be', async (t) => {
  const faults: [place: string, change: object][] = [
    ['mchid', { mchid: '1900000110' }],
    ['mchid', { mchid: undefined }],
    ['appid', { appid: '' }],
    ['out_trade_no', { out_trade_no: 1 }],
    ['transaction_id', { transaction_id: 4.2e27 }],
    ['trade_state', { trade_state: 'PAID' }],
    ['trade_state', { trade_state: undefined }],
    ['amount.total', { amount: { total: '100' } }],
    ['payer.openid', { payer: { openid: 1 } }],
    ['success_time', { success_time: 'x' }],
    ['attach', { attach: {} }]
  ]
  for (const [reason, change] of faults)
    t.strictSame(orderOf({ ...paid, ...change }), { status: 'bad', reason }, reason)
})

t.test('readRefundAnswerV3() reads status where callbacks say refund_status', async (t) => {
  const raw = {
    refund_id: '50000000382019052709732678859',
    out_refund_no: 'R1',
    transaction_id: '4200002400202501011234567890',
    out_trade_no: 'T1',
    channel: 'ORIGINAL',
    create_time: '2025-01-01T08:01:05+08:00',
    status: 'PROCESSING',
    amount: { total: 100, refund: 30, payer_total: 90, payer_refund: 27, currency: 'CNY' }
  }
  const facts = {
    outTradeNo: 'T1',
    transactionId: raw.transaction_id,
    outRefundNo: 'R1',
    refundId: raw.refund_id,
    amount: { total: 100, refund: 30 }
  }
  const accepted = { ...facts, state: 'PROCESSING', successTime: undefined, raw }
  t.strictSame(readRefundAnswerV3(json(raw)), { status: 'ok', answer: accepted })
  const done = { ...raw, status: 'SUCCESS', success_time: '2025-01-01T08:02:05+08:00' }
  const successTime = '2025-01-01T00:02:05.000Z'
  t.strictSame(readRefundAnswerV3(json(done)), {
    status: 'ok',
    answer: { ...facts, state: 'SUCCESS', successTime, raw: done }
  })
  const { status: _status, ...callback } = { ...raw, refund_status: 'SUCCESS' }
  t.strictSame(readRefundAnswerV3(json(callback)), { status: 'bad', reason: 'status' })
  t.strictSame(readRefundAnswerV3(Buffer.from('x')), { status: 'bad', reason: 'body' })
})

t.test('readBillV3() reads the hash and where the file is', async (t) => {
  const hash_value = 'a'.repeat(40)
  const path = '/v3/billdownload/file?token=6XIv5TUPto7pByrTQKhd6kwvyKLG2uY2wMMR8cNXqaA_Cv%2B'
  const good = { hash_type: 'SHA1', hash_value, download_url: `https://api.mch.weixin.qq.com${path}` }
  t.strictSame(readBillV3(json(good)), { status: 'ok', answer: { hashValue: hash_value, path } })
  const faults: [reason: string, change: object][] = [
    ['hash_type', { hash_type: 'MD5' }],
    ['hash_value', { hash_value: 'a'.repeat(39) }],
    ['hash_value', { hash_value: `${hash_value}\n` }],
    ...['', '/v3/x', 'ftp://host/x', 'https://host', 'https://host/a b', 'https://host/x\r\nHost: y'].map(
      (download_url): [string, object] => ['download_url', { download_url }]
    )
  ]
  for (const [reason, change] of faults)
    t.strictSame(readBillV3(json({ ...good, ...change })), { status: 'bad', reason }, JSON.stringify(change))
})

t.test('meaningV3() tells for every code of B15 who is told what, and what may be repeated', async (t) => {
  const table: [codes: string[], error: ErrorCode, repeat: RepeatV3, queryFirst: boolean][] = [
    [['PARAM_ERROR', 'ORDER_CLOSED', 'RULE_LIMIT', 'TRADE_ERROR'], 'PAY_REJECTED', 'never', false],
    [['NOT_ENOUGH', 'USER_ACCOUNT_ABNORMAL'], 'PAY_REJECTED', 'never', false],
    [['INVALID_REQUEST', 'OUT_TRADE_NO_USED', 'ORDER_PAID', 'ORDERPAID'], 'PAY_REJECTED', 'never', true],
    [['APPID_MCHID_NOT_MATCH', 'MCH_NOT_EXISTS', 'SIGN_ERROR', 'NO_AUTH'], 'WECHAT_CONFIG_INVALID', 'never', false],
    [['ORDER_NOT_EXIST', 'RESOURCE_NOT_EXISTS', 'NO_STATEMENT_EXIST'], 'NOT_FOUND', 'never', false],
    [['STATEMENT_CREATING'], 'WECHAT_BUSY', 'after-pause', false],
    [['FREQUENCY_LIMITED', 'RATELIMIT_EXCEEDED', 'RATE_LIMITED'], 'WECHAT_RATE_LIMITED', 'after-pause', false],
    [['SYSTEM_ERROR', 'SERVICE_UNAVAILABLE'], 'WECHAT_BUSY', 'safe', false]
  ]
  for (const [codes, error, repeat, queryFirst] of table) {
    for (const code of codes) {
      t.strictSame(meaningV3('prepay', 400, code), { error, repeat, queryFirst }, code)
      const unclear = queryFirst || repeat !== 'never'
      t.strictSame(meaningV3('refund', 400, code), { error, repeat, queryFirst: unclear }, `refund ${code}`)
    }
  }
  t.equal(table.flatMap(([codes]) => codes).length, 23)
})

t.test('meaningV3() goes by the status where the code is absent or new', async (t) => {
  const meaning = (status: number, code?: string, call: CallV3 = 'query') => meaningV3(call, status, code)
  t.match(meaning(202, 'ACCEPTED'), { error: 'WECHAT_BUSY', repeat: 'after-pause' })
  t.match(meaning(400, 'SOMETHING_NEW'), { error: 'PAY_REJECTED', repeat: 'never' })
  t.match(meaning(400, 'constructor'), { error: 'PAY_REJECTED', repeat: 'never' })
  for (const status of [400, 403, 404, 405]) t.match(meaning(status), { error: 'WECHAT_BAD_RESPONSE', repeat: 'never' })
  for (const code of [undefined, 'SOMETHING_NEW']) {
    t.match(meaning(401, code), { error: 'WECHAT_CONFIG_INVALID', repeat: 'never' })
    t.match(meaning(429, code), { error: 'WECHAT_RATE_LIMITED', repeat: 'after-pause', queryFirst: false })
    for (const status of [500, 502, 503]) t.match(meaning(status, code), { error: 'WECHAT_BUSY', repeat: 'safe' })
    t.match(meaning(502, code, 'refund'), { error: 'WECHAT_BUSY', repeat: 'safe', queryFirst: true })
  }
})

t.test('readErrorBodyV3() reads code, message and the field that is wrong', async (t) => {
  const detail = { field: '/amount/currency', value: 'XYZ', issue: 'x', location: 'body' }
  const body = json({ code: 'PARAM_ERROR', message: '参数错误', detail })
  t.strictSame(readErrorBodyV3(body), { code: 'PARAM_ERROR', message: '参数错误', field: '/amount/currency' })
  t.strictSame(readErrorBodyV3(json({ code: 'X' })), { code: 'X', message: '' })
  t.strictSame(readErrorBodyV3(json({ code: 'X', detail: 'text' })), { code: 'X', message: '' })
  for (const text of ['', '<html>502</html>', '[]', '{"code":1}', '{"message":"x"}'])
    t.equal(readErrorBodyV3(Buffer.from(text)), undefined, text)
})

t.test('asServiceErrorV3() hands on code and message, and keeps values for itself', async (t) => {
  const detail = { field: '/payer/openid', value: keys.openid }
  const rejected = asServiceErrorV3('prepay', 400, json({ code: 'PARAM_ERROR', message: '无效的openid', detail }))
  t.match(rejected, { code: 'PAY_REJECTED', statusCode: 422 })
  t.strictSame(rejected.wechat, { code: 'PARAM_ERROR', message: '无效的openid' })
  t.equal(rejected.detail, 'WeChat answered the prepay call with PARAM_ERROR (HTTP 400, field /payer/openid)')
  t.notMatch(JSON.stringify(rejected), keys.openid)
  const empty = asServiceErrorV3('close', 405, Buffer.alloc(0))
  t.match(empty, { code: 'WECHAT_BAD_RESPONSE', detail: 'WeChat answered the close call with no code (HTTP 405)' })
  t.equal(empty.wechat, undefined)
  const creating = asServiceErrorV3('bill', 400, json({ code: 'STATEMENT_CREATING', message: 'x' }))
  t.match(creating, { code: 'WECHAT_BUSY', retryAfterSeconds: 600 })
  t.match(asServiceErrorV3('prepay', 429, Buffer.alloc(0)), { code: 'WECHAT_RATE_LIMITED', retryAfterSeconds: 1 })
})

t.test('asServiceErrorV3() says of the key-only merchant of the vectors that there are no certificates', async (t) => {
  const { httpStatus, body } = keyOnly.input
  const error = asServiceErrorV3('certificates', httpStatus, Buffer.from(body))
  t.match(error, { code: 'NOT_FOUND', wechat: { code: 'RESOURCE_NOT_EXISTS' } })
  t.equal(meaningV3('certificates', httpStatus, error.wechat?.code).repeat, 'never')
})

t.test('orderStateOfV2() and refundStateOfV2() say it in the words of v3', async (t) => {
  for (const state of ORDER_STATES) t.equal(orderStateOfV2(state), state)
  t.equal(orderStateOfV2('ACCEPT'), 'NOTPAY')
  for (const word of ['', 'PAID', 'constructor', 'success']) t.equal(orderStateOfV2(word), undefined, word)
  const states = ['SUCCESS', 'REFUNDCLOSE', 'CHANGE', 'PROCESSING'].map(refundStateOfV2)
  t.strictSame(states, REFUND_STATES)
  for (const word of ['', 'CLOSED', 'constructor']) t.equal(refundStateOfV2(word), undefined, word)
})

t.test('readCertificatesV3() opens and verifies the answer of the vector', async (t) => {
  const read = readRotation({})
  t.equal(read.status, 'read')
  const list = read.status === 'read' ? read.certificates : []
  t.strictSame(
    list.map(({ serial }) => serial),
    rotation.expected.serials
  )
  for (const { serial, pem, publicKey } of list) {
    t.equal(pem, rotation.expected.pems[serial], serial)
    t.ok(publicKey.equals(new X509Certificate(rotation.expected.pems[serial]).publicKey), serial)
  }
  const windows = list.map(({ notBeforeMs, notAfterMs }) =>
    [notBeforeMs, notAfterMs].map((ms) => new Date(ms).toISOString())
  )
  t.strictSame(windows[0], ['2021-03-01T00:00:00.000Z', '2026-03-01T00:00:00.000Z'], 'narrower than the certificate')
  t.strictSame(windows[1]?.[0], '2026-02-01T00:00:00.000Z')
})

t.test('readCertificatesV3() goes by keys held before, sooner than by those it brings', async (t) => {
  const stranger = createPublicKey(keys.stranger.publicPem)
  const known = new Map([[keys.platformA.serial, stranger]])
  t.strictSame(readRotation({ known }), { status: 'bad', reason: 'signature' })
  const right = new Map([[keys.platformA.serial, createPublicKey(keys.platformA.publicPem)]])
  t.equal(readRotation({ known: right }).status, 'read')
  const byPublicKey = signedAnswer(rotation.input.body, 'platformPublicKey', keys.platformPublicKey.id)
  t.strictSame(readAt(byPublicKey), { status: 'bad', reason: 'serial' })
  const held = new Map([[keys.platformPublicKey.id, createPublicKey(keys.platformPublicKey.publicPem)]])
  t.equal(readAt(byPublicKey, { known: held }).status, 'read')
})

t.test('readCertificatesV3() trusts no answer that is stale, unsigned, changed or sealed by others', async (t) => {
  const bad = (reason: string) => ({ status: 'bad', reason })
  t.strictSame(readRotation({ nowMs: rotationMs + 300_000 }), bad('timestamp'))
  t.strictSame(readRotation({ apiV3Key: createApiV3Key(keys.otherApiV3Key) }), bad('unopenable'))
  const { headers, body } = rotation.input
  t.strictSame(readAt({ headers: {}, body: Buffer.from(body) }), bad('header'))
  t.strictSame(readAt({ headers, body: Buffer.from(`${body} `) }), bad('signature'))
  for (const text of ['', '{}', '{"data":{}}', '{"data":[]}', '{"data":[1]}', '{"data":[{}]}'])
    t.strictSame(readAt(signedAnswer(text)), bad('shape'), text)
  t.strictSame(readAt(signedAnswer(rotation.input.body, 'stranger', keys.platformA.serial)), bad('signature'))
})

t.test('readCertificatesV3() leaves out what has expired, and is nothing without the rest', async (t) => {
  const entry = entryOf(keys.platformA.certPem, keys.platformA.serial)
  const { data } = JSON.parse(rotation.input.body)
  const expired = { ...data[0], expire_time: '2026-02-02T00:00:00+08:00' }
  const read = readAt(signedAnswer(JSON.stringify({ data: [expired, data[1]] }), 'platformB'))
  t.match(read, { status: 'read', certificates: { length: 1, 0: { serial: keys.platformB.serial } } })
  t.strictSame(readAt(signedAnswer(JSON.stringify({ data: [expired] }))), { status: 'bad', reason: 'shape' })
  t.match(readAt(signedAnswer(JSON.stringify({ data: [entry] }))), { status: 'read', certificates: { length: 1 } })
  t.strictSame(readAt(signedAnswer(JSON.stringify({ data: [entry, {}] }))), { status: 'bad', reason: 'shape' })
})

t.test("openCertificateV3() opens the certificate of WeChat's own SDK", async (t) => {
  const opened = openCertificateV3(fromSdk.input.entry, createApiV3Key(fromSdk.input.apiV3Key))
  t.match(opened, { serial: fromSdk.expected.x509Serial, pem: /^-----BEGIN CERTIFICATE-----/ })
  t.match(opened, {
    notBeforeMs: Date.parse('2023-09-19T23:15:58+08:00'),
    notAfterMs: Date.parse('2028-09-17T23:15:58+08:00')
  })
  t.equal(openCertificateV3(fromSdk.input.entry, apiV3Key), 'unopenable')
})

t.test('openCertificateV3() takes only what is labelled as what it is', async (t) => {
  const { serial, certPem } = keys.platformB
  const open = (pem: string, label: string, change: object = {}) =>
    openCertificateV3({ ...entryOf(pem, label), ...change }, apiV3Key)
  const ms = (text: string) => Date.parse(text)
  t.match(
    open(certPem, serial),
    { serial, notBeforeMs: ms('2026-02-01'), notAfterMs: ms('2031-03-01') },
    'the later start'
  )
  const listed = open(certPem, serial, { effective_time: '2027-01-01T08:00:00+08:00' })
  t.match(listed, { notBeforeMs: ms('2027-01-01') }, 'the later start')
  t.match(open(certPem, serial.slice(1).toLowerCase()), { serial }, 'a lost zero')
  t.equal(open(certPem, keys.platformA.serial), 'mislabelled')
  t.equal(open('hello', serial), 'certificate')
  t.equal(open(keys.platformB.publicPem, serial), 'certificate')
  t.equal(open(certPem, serial, { expire_time: undefined }), 'shape')
  t.equal(open(certPem, serial, { effective_time: '2025-01-01' }), 'shape')
  t.equal(open(certPem, serial, { encrypt_certificate: null }), 'shape')
  for (const entry of [undefined, null, 'x', []]) t.equal(openCertificateV3(entry, apiV3Key), 'shape')
})

t.test('platformKeysV3() is one map of all keys in force', async (t) => {
  const read = readRotation({})
  const list = read.status === 'read' ? read.certificates : []
  const publicKey = { id: keys.platformPublicKey.id, key: createPublicKey(keys.platformPublicKey.publicPem) }
  const serialsAt = (nowMs: number) => [...platformKeysV3({ publicKey, certificates: list, nowMs }).keys()]
  const [older, newer] = rotation.expected.serials
  t.strictSame(serialsAt(rotationMs), [older, newer, publicKey.id])
  t.strictSame(serialsAt(Date.parse('2026-01-31T00:00:00Z')), [older, newer, publicKey.id], 'listed a day ahead')
  t.strictSame(serialsAt(Date.parse('2026-03-01T00:00:00Z')), [newer, publicKey.id], 'expired')
  t.strictSame([...platformKeysV3({ certificates: list, nowMs: rotationMs }).keys()], [older, newer])
})

t.test('openBillV3() gives the text of every vector, and refuses the hash of the packed file', async (t) => {
  const csv = bills[0].expected.csv
  for (const { name, input, expected } of bills) {
    const file = Buffer.from(input.fileBase64, 'base64')
    const isGzip = input.tarType === 'GZIP'
    const text = await buffer(openBillV3(Readable.from([file]), { hashValue: expected.hashValue, isGzip }))
    t.equal(text.toString(), csv, name)
  }
  const packed = Readable.from([Buffer.from(bills[0].input.fileBase64, 'base64')])
  const hashValue = bills[0].expected.hashOfTheGzipFileWhichIsWrong
  await t.rejects(buffer(openBillV3(packed, { hashValue, isGzip: true })), { code: 'WECHAT_BAD_RESPONSE' })
  t.equal(bills.length, 2)
})

t.test('openBillV3() hands out nothing of a small bill that is wrong, and never the end of a large one', async (t) => {
  const hashValue = createHash('sha1').update('abc').digest('hex')
  const outcomeOf = async (pieces: string[], hash = hashValue) => {
    const seen: string[] = []
    const bill = openBillV3(Readable.from(arriving(pieces)), { hashValue: hash, isGzip: false })
    const keep = (piece: Buffer) => void seen.push(piece.toString())
    const fault = await bill.forEach(keep).then(
      () => 'none',
      (error: ServiceError) => error.code
    )
    return { seen: seen.join(''), fault }
  }
  t.strictSame(await outcomeOf(['a', 'b', 'c']), { seen: 'abc', fault: 'none' })
  t.strictSame(await outcomeOf(['abc'], hashValue.toUpperCase()), { seen: 'abc', fault: 'none' })
  t.strictSame(await outcomeOf(['abd']), { seen: '', fault: 'WECHAT_BAD_RESPONSE' })
  t.notMatch((await outcomeOf(['a', 'b', 'd'])).seen, /d/)
  t.match(await outcomeOf(['a', 'b']), { fault: 'WECHAT_BAD_RESPONSE' })
  t.match(await outcomeOf([]), { seen: '', fault: 'WECHAT_BAD_RESPONSE' })
  const empty = createHash('sha1').digest('hex')
  t.strictSame(await outcomeOf([], empty), { seen: '', fault: 'none' })
})

t.test('openBillV3() names a file that breaks off, is no gzip, or failed for a known reason', async (t) => {
  const packed = gzipSync('abc')
  const hashValue = createHash('sha1').update('abc').digest('hex')
  const open = (file: Readable) => buffer(openBillV3(file, { hashValue, isGzip: true }))
  t.equal((await open(Readable.from([packed]))).toString(), 'abc')
  await t.rejects(open(Readable.from([packed.subarray(0, -9)])), { code: 'WECHAT_BAD_RESPONSE' })
  await t.rejects(open(Readable.from([Buffer.from('abc')])), { code: 'WECHAT_BAD_RESPONSE' })
  const failing = (error: Error) =>
    Readable.from(
      (async function* () {
        yield packed.subarray(0, 5)
        throw error
      })()
    )
  await t.rejects(open(failing(new ServiceError('WECHAT_TIMEOUT'))), { code: 'WECHAT_TIMEOUT' })
  await t.rejects(open(failing(new Error('reset'))), { code: 'WECHAT_BAD_RESPONSE' })
})

t.test('openBillV3() passes every text through unchanged, however it is cut', async (t) => {
  const seen = new Set<boolean>()
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 }),
      fc.boolean(),
      async (pieces, isGzip) => {
        seen.add(isGzip)
        const text = Buffer.concat(pieces)
        const hashValue = createHash('sha1').update(text).digest('hex')
        const file = isGzip ? [gzipSync(text)] : pieces.map((piece) => Buffer.from(piece))
        return (await buffer(openBillV3(Readable.from(file), { hashValue, isGzip }))).equals(text)
      }
    )
  )
  t.equal(seen.size, 2)
  t.equal(gunzipSync(Buffer.from(bills[0].input.fileBase64, 'base64')).toString(), bills[0].expected.csv)
})

// The files of vectors are JSON of many shapes.
/** Each piece has gone through before the next one comes. */
async function* arriving(pieces: string[]) {
  for (const piece of pieces) {
    yield Buffer.from(piece)
    await setImmediate()
  }
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function orderOf(fields: object) {
  return readOrderV3(json(fields), { mchid: keys.mchid })
}

type Options = Partial<Parameters<typeof readCertificatesV3>[1]>

function readAt(answer: Parameters<typeof readCertificatesV3>[0], options: Options = {}) {
  return readCertificatesV3(answer, { apiV3Key, nowMs: rotationMs, ...options })
}

function readRotation(options: Options) {
  return readAt({ headers: rotation.input.headers, body: Buffer.from(rotation.input.body) }, options)
}

/** An answer of the platform at `rotationMs`. */
function signedAnswer(text: string, signer = 'platformA', serial: string = keys[signer].serial) {
  const timestamp = String(rotationMs / 1000)
  const privateKey = createPrivateKey({ key: keys[signer].privateJwk, format: 'jwk' })
  const headers = {
    'wechatpay-timestamp': timestamp,
    'wechatpay-nonce': 'n',
    'wechatpay-serial': serial,
    'wechatpay-signature': sign('sha256', Buffer.from(`${timestamp}\nn\n${text}\n`), privateKey).toString('base64')
  }
  return { headers, body: Buffer.from(text) }
}

/** An entry of the list, as WeChat seals it. */
function entryOf(pem: string, serial_no: string) {
  const nonce = '61f9c719728a'
  const cipher = createCipheriv('aes-256-gcm', keys.apiV3Key, nonce).setAAD(Buffer.from('certificate'))
  const ciphertext = Buffer.concat([cipher.update(pem), cipher.final(), cipher.getAuthTag()]).toString('base64')
  return {
    serial_no,
    effective_time: '2021-03-01T08:00:00+08:00',
    expire_time: '2031-03-01T08:00:00+08:00',
    encrypt_certificate: { algorithm: 'AEAD_AES_256_GCM', nonce, associated_data: 'certificate', ciphertext }
  }
}
