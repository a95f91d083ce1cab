/**
 * WeChat Pay APIv2 as pure functions, against the published vectors: signatures, pay parameters, unified order, payment
 * notice.
 */
import fc from 'fast-check'
import t from 'tap'
import { type Known, mismatchOf } from '../../../lib/pay/match.ts'
import type { PayNotice } from '../../../lib/pay/model.ts'
import { readAnswerV2 } from '../../../lib/pay/v2/answer.ts'
import { ERR_CODES_V2 } from '../../../lib/pay/v2/errors.ts'
import { readPaymentV2 } from '../../../lib/pay/v2/facts.ts'
import { failReply, readPaymentNotice, successReply } from '../../../lib/pay/v2/notices.ts'
import {
  buildUnifiedOrder,
  payParamsV2,
  readUnifiedOrderAnswer,
  refusedPrepay,
  type UnifiedOrderV2
} from '../../../lib/pay/v2/prepay.ts'
import { buildRequestV2, isWechatPayText } from '../../../lib/pay/v2/request.ts'
import { type SignTypeV2, signV2, verifyV2 } from '../../../lib/pay/v2/sign.ts'
import { parseFlatXml } from '../../../lib/xml/read.ts'
import { buildFlatXml } from '../../../lib/xml/write.ts'
import { vectors } from '../../vectors.ts'
import { VECTOR_AMOUNT, VECTOR_PAYMENT } from './vector-payment.ts'

const keys = vectors('pay-keys')
const notices = vectors('pay-v2-pay-notify')
const unifiedOrders = vectors('pay-v2-unifiedorder')
const key: string = keys.apiV2Key
const goodFields: Record<string, string> = notices.cases[0].expected.fields

t.test('signV2() gives the signatures of every vector, and verifyV2() accepts them', async (t) => {
  const { cases } = vectors('pay-v2-sign')
  for (const { name, input, expected } of cases) {
    const params = Object.entries<string>(input.params)
    t.equal(signV2(params, input.key, 'MD5'), expected.md5, name)
    t.equal(signV2(new Map(params), input.key, 'HMAC-SHA256'), expected.hmacSha256, name)
    for (const sign of [expected.md5, expected.hmacSha256]) {
      t.ok(verifyV2(new Map([...params, ['sign', sign]]), input.key), name)
    }
  }
  t.equal(cases.length, 8)
})

t.test('verifyV2() refuses what is no signature of these fields by this key', async (t) => {
  const sign = signV2(Object.entries({ a: '1' }), key, 'MD5')
  const verify = (fields: Record<string, string>, withKey = key) => verifyV2(new Map(Object.entries(fields)), withKey)
  t.ok(verify({ a: '1', sign }))
  t.notOk(verify({ a: '2', sign }))
  t.notOk(verify({ a: '1', sign }, `${key}x`))
  t.notOk(verify({ a: '1', sign: sign.toLowerCase() }))
  t.notOk(verify({ a: '1', sign: `${sign.slice(1)}é` }))
  t.notOk(verify({ a: '1', sign: `${sign}\n` }))
  t.notOk(verify({ a: '1', sign: sign.repeat(2) }))
  t.notOk(verify({ a: '1', sign: '' }))
  t.notOk(verify({ a: '1' }))
  t.notOk(verify({ a: '1', sign: signV2(Object.entries({ a: '1' }), '', 'MD5') }, ''), 'an empty key is no key')
})

t.test('verifyV2() knows two sign types and believes the length of sign more than either', async (t) => {
  const verify = (signType: string, algorithm: SignTypeV2) => {
    const fields = new Map([
      ['a', '1'],
      ['sign_type', signType]
    ])
    return verifyV2(fields.set('sign', signV2(fields, key, algorithm)), key)
  }
  for (const signType of ['', 'MD5', 'HMAC-SHA256']) {
    t.ok(verify(signType, 'MD5'), `${signType} MD5`)
    t.ok(verify(signType, 'HMAC-SHA256'), `${signType} HMAC-SHA256`)
  }
  for (const signType of ['NONE', 'md5', 'RSA', 'MD5 ']) t.notOk(verify(signType, 'MD5'), signType)
})

t.test('payParamsV2() gives the paySign of every vector', async (t) => {
  const { cases } = vectors('pay-v2-paysign')
  for (const { name, input, expected } of cases) {
    const { appId, package: prepay, ...handedOver } = input.params
    const prepayId = prepay.replace('prepay_id=', '')
    const params = payParamsV2({ appid: appId, prepayId, key: input.key, ...handedOver })
    t.strictSame(params, { ...handedOver, package: prepay, paySign: expected.paySign }, name)
  }
  t.equal(cases.length, 3)
})

t.test('buildUnifiedOrder() builds the request of the vector', async (t) => {
  const { input, expected } = unifiedOrders.cases[0]
  const xml = buildUnifiedOrder(vectorOrder(), { key: input.key, signType: 'HMAC-SHA256' })
  t.strictSame(fieldsOf(xml), { ...input.params, sign: expected.sign })
  t.strictSame(fieldsOf(xml), fieldsOf(expected.xml))
})

t.test('buildUnifiedOrder() names the currency as WeChat does, leaves out what is empty, and signs it', async (t) => {
  const xml = buildUnifiedOrder({ ...vectorOrder(), currency: 'CNY', attach: '' }, { key, signType: 'MD5' })
  const { attach: _attach, ...params } = unifiedOrders.cases[0].input.params
  const { sign, ...sent } = fieldsOf(xml)
  t.strictSame(sent, { ...params, sign_type: 'MD5', fee_type: 'CNY' })
  t.equal(sign, signV2(Object.entries(sent), key, 'MD5'))
})

t.test('buildUnifiedOrder() throws on what nobody should hand it', async (t) => {
  const build = (change: Partial<UnifiedOrderV2>) => () =>
    buildUnifiedOrder({ ...vectorOrder(), ...change }, { key, signType: 'MD5' })
  for (const totalFen of [0, -1, 1.5, Number.NaN, 2 ** 53]) t.throws(build({ totalFen }), RangeError, `${totalFen}`)
  t.throws(build({ timeExpire: '2025-01-01T00:30:00' }), RangeError)
  t.throws(build({ description: 'a 😀' }), /body has a character/)
})

t.test('isWechatPayText() refuses what WeChat Pay or XML has no place for', async (t) => {
  for (const text of ['', 'abc', '会员 & <b>', '\t\n\r', '\uffe5', '\ufffd']) t.ok(isWechatPayText(text), text)
  for (const text of ['😀', 'a\u{20000}b', '\ud800', '\udfff', '\0', '\u001f', '\uffff'])
    t.notOk(isWechatPayText(text), JSON.stringify(text))
})

t.test('buildRequestV2() leaves out what is absent or empty', async (t) => {
  const xml = buildRequestV2(
    { appid: 'a', transaction_id: undefined, out_trade_no: '' },
    { key, signType: 'HMAC-SHA256' }
  )
  const { sign, ...sent } = fieldsOf(xml)
  t.strictSame(sent, { appid: 'a', sign_type: 'HMAC-SHA256' })
  t.match(sign, /^[0-9A-F]{64}$/)
})

t.test('readUnifiedOrderAnswer() gives the verdict of every reply in the vectors', async (t) => {
  const verdicts: Record<string, (expected: { prepayId: string; errCode: string; returnMsg: string }) => unknown> = {
    ok: ({ prepayId }) => ({ status: 'ok', prepayId }),
    'business-error': ({ errCode }) => ({ status: 'refused', code: errCode, message: '该订单已支付' }),
    'communication-error': ({ returnMsg }) => ({ status: 'failed', message: returnMsg }),
    'bad-signature': () => ({ status: 'bad', reason: 'bad-signature' }),
    'wrong-merchant': () => ({ status: 'bad', reason: 'wrong-merchant' })
  }
  const replies = unifiedOrders.cases.slice(1)
  for (const { name, input, expected } of replies) {
    const answer = readUnifiedOrderAnswer(Buffer.from(input.body), ours())
    t.strictSame(answer, verdicts[expected.verdict]?.(expected), name)
  }
  t.strictSame(
    replies.map((reply: { expected: { verdict: string } }) => reply.expected.verdict),
    Object.keys(verdicts)
  )
})

t.test('readUnifiedOrderAnswer() trusts nothing but a complete answer for us, signed', async (t) => {
  const good = {
    return_code: 'SUCCESS',
    result_code: 'SUCCESS',
    appid: keys.appid,
    mch_id: keys.mchid,
    prepay_id: 'wx1'
  }
  const read = (change: Record<string, string>) => readUnifiedOrderAnswer(signed({ ...good, ...change }), ours())
  const bad = (reason: string) => ({ status: 'bad', reason })
  t.strictSame(readUnifiedOrderAnswer(signed(without(good, 'prepay_id')), ours()), bad('incomplete'))
  t.strictSame(read({}), { status: 'ok', prepayId: 'wx1' })
  t.strictSame(read({ appid: 'wx0000000000000000' }), bad('wrong-appid'))
  t.strictSame(read({ mch_id: '' }), bad('wrong-merchant'))
  t.strictSame(read({ prepay_id: '' }), bad('incomplete'))
  t.strictSame(read({ return_code: 'OK' }), bad('incomplete'))
  t.strictSame(read({ result_code: 'FAIL' }), bad('incomplete'))
  t.strictSame(read({ result_code: 'FAIL', err_code: 'SYSTEMERROR' }), {
    status: 'refused',
    code: 'SYSTEMERROR',
    message: ''
  })
  const answer = (body: string, limits = {}) => readAnswerV2(Buffer.from(body), { ...ours(), ...limits })
  t.strictSame(answer('<html>502</html>'), bad('shape'))
  t.strictSame(answer('<xml></xml>', { maxBytes: 10 }), bad('size'))
  t.strictSame(answer('<xml><return_code>FAIL</return_code></xml>'), { status: 'failed', message: '' })
})

t.test('refusedPrepay() says of which refusals WeChat may have made the order all the same', async (t) => {
  const mayExist = (code: string, repeated = false) => {
    const outcome = refusedPrepay({ status: 'refused', code, message: '' }, repeated)
    return outcome.status === 'refused' && outcome.mayExist
  }
  const listed = [...ERR_CODES_V2.keys()]
  const ofOrders = [
    ...['ORDERPAID', 'OUT_TRADE_NO_USED', 'INVALID_REQUEST', 'ORDERCLOSED', 'NOTENOUGH', 'NOAUTH', 'APPID_NOT_EXIST'],
    ...['MCHID_NOT_EXIST', 'APPID_MCHID_NOT_MATCH', 'SIGNERROR', 'LACK_PARAMS', 'PARAM_ERROR', 'XML_FORMAT_ERROR'],
    ...['REQUIRE_POST_METHOD', 'POST_DATA_EMPTY', 'NOT_UTF8']
  ]
  for (const code of [...listed, 'SOMETHING_NEW']) t.equal(mayExist(code), !ofOrders.includes(code), code)
  for (const code of ofOrders) t.ok(listed.includes(code) && mayExist(code, true), `${code}, repeated`)
  t.match(refusedPrepay({ status: 'failed', message: '' }, false), { mayExist: false })
  t.match(refusedPrepay({ status: 'bad', reason: 'shape' }, false), { mayExist: true })
})

t.test('readPaymentNotice() and mismatchOf() give the verdict of every vector', async (t) => {
  const seen: Record<string, number> = {}
  for (const { name, input, expected } of notices.cases) {
    const notice = readPaymentNotice(Buffer.from(input.body), input.key)
    const order = input.order && { totalFen: input.order.totalFee, currency: input.order.currency }
    const known = { mchid: keys.mchid, appids: [keys.appid], order: order ?? undefined }
    const verdict = verdictOf(notice, known)
    t.equal(verdict, expected.verdict, name)
    if (notice.status === 'event') t.strictSame(factsOf(notice).raw, without(expected.fields, 'sign'), name)
    seen[verdict] = (seen[verdict] ?? 0) + 1
  }
  const mismatches = { 'amount-mismatch': 2, 'wrong-appid': 1, 'wrong-merchant': 1, 'not-success': 1 }
  t.strictSame(sorted(seen), sorted({ accept: 15, ...mismatches, 'bad-signature': 9, malformed: 2 }))
  t.equal(notices.cases.length, 31)
})

t.test('readPaymentNotice() tells the facts with their types', async (t) => {
  const { sign: _sign, ...raw } = goodFields
  const facts = { api: 'v2', ...VECTOR_PAYMENT }
  const amount = VECTOR_AMOUNT
  const all = { ...facts, amount: { ...amount, payerTotal: 100 }, bankType: 'OTHERS', raw }
  t.strictSame(factsOf(noticeOf({})), all)
  const fewer = { cash_fee: '', bank_type: '', fee_type: '', attach: ' 0 ' }
  t.strictSame(factsOf(noticeOf(fewer)), { ...facts, amount, attach: ' 0 ', raw: { ...raw, ...fewer } })
})

t.test(
  'readPaymentNotice() calls a signed notice with a bad field malformed, names it, and says that it is authentic',
  async (t) => {
    const faults: [field: string, values: string[]][] = [
      ['total_fee', ['', '-1', '1.0', '1e2', ' 100', '12345678901', '１００']],
      ['cash_fee', ['x', '0x1', '+1']],
      ['time_end', ['', '2025010108010', '20250230080105', '20250101240000', '20251301000000', '2025-01-01 08:01']],
      ...['appid', 'mch_id', 'openid', 'out_trade_no', 'transaction_id'].map((field): [string, string[]] => [
        field,
        ['']
      ])
    ]
    for (const [field, values] of faults) {
      for (const value of values) {
        t.strictSame(noticeOf({ [field]: value }), { status: 'malformed', reason: field }, `${field} ${value}`)
      }
    }
    const forged = readPaymentNotice(Buffer.from('<xml><a></xml>'), key)
    t.strictSame(forged, { status: 'refused', reason: 'shape' })
    const large = readPaymentNotice(signed({ ...goodFields, attach: 'x'.repeat(65536) }), key)
    t.strictSame(large, { status: 'refused', reason: 'size' })
  }
)

t.test('readPaymentNotice() takes only two SUCCESSes for a payment, and tells whose notice it was', async (t) => {
  const said = { appid: keys.appid, mchid: keys.mchid }
  const failure = { result_code: 'FAIL', err_code: 'SYSTEMERROR', err_code_des: '系统错误' }
  t.strictSame(noticeOf(failure), { status: 'not-success', said })
  t.strictSame(noticeOf({ return_code: 'FAIL', return_msg: 'x' }), { status: 'not-success', said })
  for (const result_code of ['', 'success', 'SUCCESS '])
    t.strictSame(noticeOf({ result_code }), { status: 'not-success', said })
  const bare = { appid: '', mchid: '' }
  t.strictSame(readPaymentNotice(signed({ a: '1' }), key), { status: 'not-success', said: bare })
  t.equal(mismatchOf(bare, { mchid: keys.mchid, appids: [keys.appid] }), 'wrong-merchant')
})

t.test('readPaymentNotice() takes no changed field for a payment', async () => {
  const name = fc.oneof(fc.constantFrom(...Object.keys(goodFields)), fc.stringMatching(/^[a-z_]{1,12}$/))
  fc.assert(
    fc.property(name, fc.oneof(fc.nat().map(String), fc.string({ minLength: 1 })), (name, value) => {
      fc.pre(
        isWechatPayText(value) &&
          value !== goodFields[name] &&
          !['__proto__', 'constructor', 'prototype'].includes(name)
      )
      fc.pre(name !== 'sign' || value.length < 32)
      const body = Buffer.from(buildFlatXml(Object.entries({ ...goodFields, [name]: value })))
      return verdictOf(readPaymentNotice(body, key)) === 'bad-signature'
    }),
    { numRuns: 1000 }
  )
})

t.test('readPaymentNotice() takes no notice with changed bytes for another payment', async (t) => {
  const body = buildFlatXml(Object.entries(goodFields))
  const good = readPaymentNotice(Buffer.from(body), key)
  const seen = new Set<string>()
  fc.assert(
    fc.property(
      fc.nat({ max: body.length - 1 }),
      fc.nat({ max: 3 }),
      fc.constantFrom('', ' ', '0', 'A', '<', ']]>', '&amp;', '<a/>'),
      (at, length, text) => {
        const notice = readPaymentNotice(Buffer.from(body.slice(0, at) + text + body.slice(at + length)), key)
        seen.add(verdictOf(notice))
        // Space in tags and an empty element change no fact; whatever else was touched must not pass.
        return notice.status !== 'event' || sameFacts(notice, good)
      }
    ),
    { numRuns: 3000 }
  )
  t.strictSame([...seen].sort(), ['accept', 'bad-signature', 'malformed'])
})

t.test('readPaymentV2() reads a queried order like its notice', async (t) => {
  const queried = readPaymentV2(new Map(Object.entries({ ...goodFields, trade_state: 'SUCCESS' })))
  t.match(queried, { status: 'payment', payment: { amount: { total: 100 }, raw: { trade_state: 'SUCCESS' } } })
})

t.test('successReply and failReply are the answers of the vectors', async (t) => {
  t.equal(successReply, notices.successReply)
  t.equal(failReply, notices.failReply)
})

// The files of vectors are JSON of many shapes.
function vectorOrder(): UnifiedOrderV2 {
  const { params } = unifiedOrders.cases[0].input
  return {
    appid: params.appid,
    mchid: params.mch_id,
    nonceStr: params.nonce_str,
    description: params.body,
    attach: params.attach,
    outTradeNo: params.out_trade_no,
    totalFen: 88,
    clientIp: params.spbill_create_ip,
    timeStart: '2025-01-01T00:00:00Z',
    timeExpire: '2025-01-01T08:30:00+08:00',
    notifyUrl: params.notify_url,
    openid: params.openid
  }
}

function ours() {
  return { appid: keys.appid, mchid: keys.mchid, key }
}

function signed(fields: Record<string, string>): Buffer {
  const sign = signV2(Object.entries(fields), key, 'MD5')
  return Buffer.from(buildFlatXml(Object.entries({ ...fields, sign })))
}

/** The good notice with some fields changed, signed again. */
function noticeOf(change: Record<string, string>): PayNotice {
  return readPaymentNotice(signed({ ...goodFields, ...change }), key)
}

function fieldsOf(xml: string): Record<string, string> {
  const outcome = parseFlatXml(Buffer.from(xml))
  return outcome.status === 'parsed' ? Object.fromEntries(outcome.fields) : { refused: outcome.reason }
}

function sameFacts(a: PayNotice, b: PayNotice): boolean {
  const facts = (notice: PayNotice) => JSON.stringify({ ...factsOf(notice), raw: {} })
  return facts(a) === facts(b)
}

/** What the event of a notice says, as it is recorded. */
function factsOf(notice: PayNotice): Record<string, unknown> {
  if (notice.status !== 'event') throw new Error(`no event: ${notice.status}`)
  return JSON.parse(JSON.stringify(notice.event(true, '').data))
}

/** What the vectors call it. */
function verdictOf(notice: PayNotice, known: Known = { mchid: keys.mchid, appids: [keys.appid] }): string {
  if (notice.status === 'event') return mismatchOf(notice.said, known) ?? 'accept'
  if (notice.status === 'refused') return notice.reason === 'signature' ? 'bad-signature' : 'malformed'
  return notice.status
}

function without(fields: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name))
}

function sorted(counts: Record<string, number>): [string, number][] {
  return Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1))
}
