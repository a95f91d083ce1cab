/** The sandbox as api.mch.weixin.qq.com: XML, signature, unified order, payment notice. */
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { type SignType, sign, stringToSign } from '../../sandbox/wire/pay-sign.ts'
import { readXml } from '../../sandbox/wire/xml-reader.ts'
import { writeXml } from '../../sandbox/wire/xml-writer.ts'
import { vectors } from '../vectors.ts'
import {
  APPID,
  build,
  KEY,
  MCHID,
  OTHER_APPID,
  orderXml,
  place,
  placeRaw,
  postJson,
  readJson,
  signed,
  xmlFields
} from './client.ts'

const SUCCESS = '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'

interface SignCase {
  name: string
  input: { params: Record<string, string>; key: string }
  expected: { stringA: string; md5: string; hmacSha256: string }
}
interface XmlCase {
  name: string
  input: { body?: string; bodyBase64?: string }
  expected: { verdict: 'accept' | 'reject' }
}
interface NoticeCase {
  name: string
  input: { body: string; key: string }
  expected: { verdict: string; algorithm?: SignType; fields: Record<string, string>; stringA: string }
}
interface OrderCase {
  expected: { xml: string }
  input: { params: Record<string, string> }
}

t.test('sign() reproduces the published vectors', async (t) => {
  const { cases } = vectors<{ cases: SignCase[] }>('pay-v2-sign')
  for (const { name, input, expected } of cases) {
    const fields = new Map(Object.entries(input.params))
    t.equal(stringToSign(fields), expected.stringA, name)
    t.equal(sign(fields, input.key, 'MD5'), expected.md5, name)
    t.equal(sign(fields, input.key, 'HMAC-SHA256'), expected.hmacSha256, name)
  }
})

t.test('readXml() accepts and refuses as the hostile vectors say', async (t) => {
  const { cases, fields } = vectors<{ cases: XmlCase[]; fields: Record<string, string> }>('pay-xml-hostile')
  for (const { name, input, expected } of cases) {
    const bytes =
      input.bodyBase64 === undefined ? Buffer.from(input.body ?? '') : Buffer.from(input.bodyBase64, 'base64')
    if (expected.verdict === 'accept') t.same(Object.fromEntries(readXml(bytes)), fields, name)
    else t.throws(() => readXml(bytes), { name: 'Error', reason: /^(XML_FORMAT_ERROR|NOT_UTF8)$/ }, name)
  }
  t.throws(() => readXml(Buffer.from(`<xml><a>${'x'.repeat(65_536)}</a></xml>`)), /too large/)
})

t.test('readXml() and sign() agree with every authentic notice of the vectors', async (t) => {
  const { cases } = vectors<{ cases: NoticeCase[] }>('pay-v2-pay-notify')
  const authentic = cases.filter(({ expected }) => expected.verdict === 'accept')
  t.equal(authentic.length, 15)
  for (const { name, input, expected } of authentic) {
    const fields = readXml(Buffer.from(input.body))
    t.same(Object.fromEntries(fields), expected.fields, name)
    t.equal(sign(fields, input.key, expected.algorithm ?? 'MD5'), expected.fields.sign, name)
  }
})

t.test('writeXml() can be read again in both spellings', async (t) => {
  const fields = new Map([
    ['a', `]]> & < > " ' `],
    ['b', '100'],
    ['c', ''],
    ['d', '4200002400202501011234567890']
  ])
  for (const cdata of [true, false]) t.same(readXml(Buffer.from(writeXml(fields, cdata))), fields)
  t.match(writeXml(fields), '<b>100</b>\n')
  t.notMatch(writeXml(fields, false), 'CDATA')
})

t.test('unifiedorder takes the published request, and signs its answer alike', async (t) => {
  const [request] = vectors<{ cases: OrderCase[] }>('pay-v2-unifiedorder').cases
  const appid = request?.input.params.appid ?? ''
  const { sandbox } = await build(t, {
    apps: [{ appid, secret: 'x' }],
    merchants: [{ mchid: MCHID, apiV2Key: KEY, appids: [appid] }],
    now: () => Date.parse('2025-01-01T08:00:00+08:00')
  })
  const response = await placeRaw(sandbox, request?.expected.xml ?? '')
  t.equal(response.headers.get('content-type'), 'text/plain')
  const answer = xmlFields(await response.text())
  t.match(answer, {
    return_code: 'SUCCESS',
    return_msg: 'OK',
    result_code: 'SUCCESS',
    appid,
    mch_id: MCHID,
    trade_type: 'JSAPI'
  })
  t.match(answer.prepay_id, /^wx[0-9a-f]{34}$/)
  t.equal(answer.sign, signed(answer, KEY, true))
  t.match(sandbox.order('T20250101_0001'), {
    totalFen: 88,
    attach: 'a<b&c',
    state: 'NOTPAY',
    signType: 'HMAC-SHA256',
    prepayId: answer.prepay_id
  })
  t.match(sandbox.calls(), [{ api: 'unifiedorder', appid, mchid: MCHID, outTradeNo: 'T20250101_0001', errcode: 0 }])
})

t.test('unifiedorder refuses what it cannot trust without a signature, status 200', async (t) => {
  const { sandbox } = await build(t)
  const refusal = async (body: string | Uint8Array<ArrayBuffer>) => {
    const response = await placeRaw(sandbox, body)
    const answer = xmlFields(await response.text())
    t.same([response.status, answer.return_code, Object.keys(answer).length], [200, 'FAIL', 2])
    return answer.return_msg
  }
  t.equal(await refusal(orderXml({}, 'x'.repeat(32))), '签名错误')
  t.equal(await refusal(orderXml({ sign: 'A'.repeat(32) })), '签名错误')
  t.equal(await refusal(orderXml({ sign_type: 'NONE' })), '签名错误')
  t.equal(await refusal(orderXml({ sign_type: 'HMAC-SHA256' }).replace('HMAC-SHA256', 'MD5')), '签名错误')
  t.equal(await refusal('<xml><a></xml>'), 'XML_FORMAT_ERROR')
  t.equal(await refusal(new Uint8Array([0xff, 0xfe])), 'NOT_UTF8')
  t.equal(await refusal(''), 'POST_DATA_EMPTY')
  t.match(await refusal(orderXml({ mch_id: '1900000110' })), 'mch_id')
  t.match(await refusal(orderXml({ mch_id: '' })), 'mch_id')
  t.match(await (await fetch(`${sandbox.origin}/pay/unifiedorder`)).text(), 'REQUIRE_POST_METHOD')
})

t.test('unifiedorder names what is wrong with an authentic order, signed', async (t) => {
  const { sandbox, advance } = await build(t)
  sandbox.login({ appid: OTHER_APPID, openid: 'oOfTheOtherApp' })
  const errCode = async (changes: Record<string, string>) => {
    const answer = await place(sandbox, changes)
    t.same([answer.return_code, answer.result_code, answer.sign], ['SUCCESS', 'FAIL', signed(answer)])
    return answer.err_code
  }
  for (const name of [
    'nonce_str',
    'body',
    'out_trade_no',
    'total_fee',
    'spbill_create_ip',
    'notify_url',
    'trade_type',
    'openid',
    'appid'
  ]) {
    t.equal(await errCode({ [name]: '' }), 'LACK_PARAMS', name)
  }
  const wrong = {
    total_fee: ['0', '1.5', '-1', '1e2'],
    out_trade_no: ['short', 'x'.repeat(33), 'no spaces'],
    trade_type: ['NATIVE'],
    fee_type: ['USD'],
    body: ['x'.repeat(128), '中'.repeat(43), 'smile 😀'],
    attach: ['x'.repeat(128)],
    notify_url: ['https://pay.example.com/?a=1', 'pay.example.com'],
    spbill_create_ip: ['localhost'],
    time_expire: ['20250101080100', '20250230000000', 'tomorrow'],
    openid: ['oOfTheOtherApp']
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) t.equal(await errCode({ [name]: value }), 'PARAM_ERROR', `${name} ${value}`)
  }
  t.equal(await errCode({ appid: 'wxffffffffffffffff' }), 'APPID_NOT_EXIST')
  t.equal(await errCode({ appid: OTHER_APPID }), 'APPID_MCHID_NOT_MATCH')

  t.equal((await place(sandbox, { time_expire: '20250101080101' })).result_code, 'SUCCESS')
  advance(61_000)
  t.equal(await errCode({}), 'ORDERCLOSED')
  await t.rejects(sandbox.pay({ prepayId: sandbox.order('T20250101_0001').prepayId ?? '' }), { message: /time_expire/ })
})

t.test('unifiedorder may be repeated as it was, until it is paid', async (t) => {
  const { sandbox, advance } = await build(t)
  const { prepay_id: prepayId = '' } = await place(sandbox)
  t.equal((await place(sandbox, { time_expire: '20250101090000' })).prepay_id, prepayId)
  t.equal((await place(sandbox, { total_fee: '89' })).err_code, 'INVALID_REQUEST')
  advance(7_200_000)
  const { prepay_id: renewed = '' } = await place(sandbox)
  t.not(renewed, prepayId)
  await t.rejects(sandbox.pay({ prepayId, times: 0 }), { message: /older than 2 hours/ })
  await t.rejects(sandbox.pay({ prepayId: 'wx', times: 0 }), { message: /no order has/ })
  const { transactionId } = await sandbox.pay({ prepayId: renewed, times: 0 })
  t.match(transactionId, /^4200\d{24}$/)
  t.match(sandbox.order('T20250101_0001', MCHID), {
    state: 'SUCCESS',
    transactionId,
    paidAt: '2025-01-01T02:00:00.000Z'
  })
  t.equal((await place(sandbox)).err_code, 'ORDERPAID')
  t.equal((await sandbox.pay({ prepayId: renewed, times: 0 })).transactionId, transactionId)
})

interface Merchant {
  url: string
  received: { url: string; contentType: string; body: string }[]
}

/**
 * A notify_url that answers the success XML. `/wrong` answers with an error, `/together` only when two notices are
 * there.
 */
async function merchant(t: Test): Promise<Merchant> {
  const received: Merchant['received'] = []
  const { promise: two, resolve: twoAreHere } = Promise.withResolvers<void>()
  let together = 0
  const app = Fastify({ forceCloseConnections: true })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.post('/*', async (request, reply) => {
    received.push({
      url: request.url,
      contentType: String(request.headers['content-type']),
      body: String(request.body)
    })
    if (request.url === '/together') {
      together += 1
      if (together === 2) twoAreHere()
      await two
    }
    if (request.url === '/wrong') return reply.code(500).type('text/html').send('oops')
    return reply.type('text/xml').send(SUCCESS)
  })
  t.teardown(() => app.close())
  return { url: await app.listen({ host: '127.0.0.1', port: 0 }), received }
}

t.test('pay() posts the signed notice to notify_url and brings the answer back', async (t) => {
  const { sandbox } = await build(t)
  const { url, received } = await merchant(t)
  const notify = { notify_url: `${url}/notify`, attach: 'a<b&c]]>', device_info: 'd' }
  for (const [outTradeNo, extra] of [
    ['T20250101_MD5', {}],
    ['T20250101_HMAC', { sign_type: 'HMAC-SHA256' }]
  ] as const) {
    const { prepay_id: prepayId } = await place(sandbox, {
      ...notify,
      out_trade_no: outTradeNo,
      attach: 'a<b&c',
      ...extra
    })
    const paid = await postJson(`${sandbox.origin}/sandbox/pay`, { prepayId })
    t.match(paid, {
      outTradeNo,
      notices: [{ url: `${url}/notify`, status: 200, contentType: /^text\/xml/, body: SUCCESS }]
    })
    const notice = received.pop()
    const fields = xmlFields(notice?.body ?? '')
    t.equal(notice?.contentType, 'text/xml')
    t.match(fields, {
      ...extra,
      appid: APPID,
      mch_id: MCHID,
      out_trade_no: outTradeNo,
      transaction_id: paid.transactionId,
      total_fee: '88',
      cash_fee: '88'
    })
    t.match(fields, {
      attach: 'a<b&c',
      device_info: 'd',
      time_end: '20250101080000',
      openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
      result_code: 'SUCCESS'
    })
    t.equal(fields.sign, signed(fields, KEY, outTradeNo === 'T20250101_HMAC'))
    t.match(await readJson(await fetch(`${sandbox.origin}/sandbox/orders/${outTradeNo}`)), { state: 'SUCCESS' })
  }
  t.match(await readJson(await fetch(`${sandbox.origin}/sandbox/orders/T0`)), { statusCode: 404 })
})

t.test('pay() repeats the same bytes, in turn or at once, and again later', async (t) => {
  const { sandbox, advance } = await build(t)
  const { url, received } = await merchant(t)
  const { prepay_id: prepayId = '' } = await place(sandbox)
  const notifyUrls = [`${url}/a`, `${url}/wrong`]
  const { notices, transactionId } = await sandbox.pay({ prepayId, notifyUrls, times: 3 })
  t.match(notices, [{ status: 200 }, { status: 500, contentType: /^text\/html/, body: 'oops' }, { status: 200 }])
  t.same(
    received.map((notice) => notice.url),
    ['/a', '/wrong', '/a']
  )
  advance(60_000)
  const again = await sandbox.pay({ prepayId, notifyUrls, times: 4, concurrent: true })
  t.equal(again.transactionId, transactionId)
  t.equal(new Set(received.map((notice) => notice.body)).size, 1)
  t.equal(received.length, 7)
  const atOnce = await sandbox.pay({ prepayId, notifyUrls: [`${url}/together`], times: 2, concurrent: true })
  t.match(atOnce.notices, [{ status: 200 }, { status: 200 }], 'the first is answered only when the second is there')
})

t.test('pay() spoils a notice as it is told', async (t) => {
  const { sandbox } = await build(t)
  const { url, received } = await merchant(t)
  const { prepay_id: prepayId = '' } = await place(sandbox, { notify_url: url, sign_type: 'HMAC-SHA256' })
  const notice = async (changes: object) => {
    await sandbox.pay({ prepayId, ...changes })
    return received.pop()?.body ?? ''
  }
  const overridden = xmlFields(await notice({ overrides: { total_fee: 1, brand_new: 'x', sign_type: null } }))
  t.match(overridden, { total_fee: '1', brand_new: 'x', sign: signed(overridden, KEY, true) })
  t.notOk('sign_type' in overridden)
  t.equal(sandbox.order('T20250101_0001').totalFen, 88)
  const tampered = xmlFields(await notice({ tamper: { total_fee: 1 } }))
  t.equal(tampered.sign, signed({ ...tampered, total_fee: '88' }, KEY, true))
  t.notOk('sign' in xmlFields(await notice({ tamper: { sign: null } })))
  const other = xmlFields(await notice({ signWith: 'MD5' }))
  t.equal(other.sign, signed(other))
  const text = await notice({ cdata: false })
  t.notMatch(text, 'CDATA')
  t.equal(xmlFields(text).sign, signed(xmlFields(text), KEY, true))
})

t.test('pay() reports a notice that could not be delivered', async (t) => {
  const { sandbox } = await build(t)
  const { prepay_id: prepayId = '' } = await place(sandbox)
  const { notices } = await sandbox.pay({ prepayId, notifyUrls: ['http://127.0.0.1:9/', 'nonsense'], times: 2 })
  t.match(notices, [
    { status: 0, body: '', error: /ECONNREFUSED/ },
    { status: 0, error: /invalid url/i }
  ])
  t.equal(sandbox.order('T20250101_0001').state, 'SUCCESS')
})

t.test('faults of unifiedorder come signed, or unsigned without an errcode', async (t) => {
  const { sandbox } = await build(t)
  sandbox.fault({ api: 'unifiedorder', errcode: 'SYSTEMERROR' })
  sandbox.fault({ api: 'unifiedorder', errmsg: '系统错误' })
  const failure = await place(sandbox)
  t.match(failure, { return_code: 'SUCCESS', result_code: 'FAIL', err_code: 'SYSTEMERROR', sign: signed(failure) })
  t.same(await place(sandbox), { return_code: 'FAIL', return_msg: '系统错误' })
  t.throws(() => sandbox.order('T20250101_0001'), { message: 'no order T20250101_0001' }, 'nothing was done')
  sandbox.fault({ api: 'unifiedorder', reset: true })
  await t.rejects(place(sandbox))
  t.equal(sandbox.order('T20250101_0001').state, 'NOTPAY', 'the answer was lost, the order is there')
})
