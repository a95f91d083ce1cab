/** APIv2 as a PayApi: the calls to WeChat, the results of its answers, and what happens when an answer says nothing. */
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { refundOnce } from '../../../lib/pay/refund-once.ts'
import { type Fields, sign } from '../../routes/wechat/notices.ts'
import { madeOf } from './made-of.ts'
import { failure, fakeWechat, KEY, MERCHANT, refusal, signed, silence } from './v2-wechat.ts'
import { RECORDED_ORDER } from './vector-payment.ts'

const ORDER: Fields = {
  trade_state: 'SUCCESS',
  out_trade_no: 'T20250101_0001',
  transaction_id: '4200002400202501011234567890',
  openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
  total_fee: '100',
  cash_fee: '88',
  bank_type: 'OTHERS',
  attach: 'a b',
  time_end: '20250101080105'
}
const REQUEST = { outTradeNo: 'T20250101_0001', outRefundNo: 'R1', amount: 30, total: 100, reason: '退货' }
const ACCEPTED: Fields = {
  out_trade_no: 'T20250101_0001',
  transaction_id: '4200002400202501011234567890',
  out_refund_no: 'R1',
  refund_id: '50302500002025010112345678901',
  refund_fee: '30',
  total_fee: '100'
}
const FOUND: Fields = {
  out_trade_no: 'T20250101_0001',
  transaction_id: '4200002400202501011234567890',
  total_fee: '100',
  refund_count: '2',
  out_refund_no_0: 'R0',
  refund_id_0: '50302500002025010112345678900',
  refund_fee_0: '1',
  refund_status_0: 'REFUNDCLOSE',
  out_refund_no_1: 'R1',
  refund_id_1: '50302500002025010112345678901',
  refund_fee_1: '30',
  refund_status_1: 'SUCCESS',
  refund_success_time_1: '2025-01-02 09:10:11'
}

const signHolds = (fields: Fields) => fields.sign === sign(fields, KEY, 'HMAC-SHA256')

t.test('query() asks in the name of the first app, and answers in the words of v3', async (t) => {
  const { v2, asked, counted, answer } = await fakeWechat(t)
  answer(signed(ORDER))
  const { raw, ...order } = await v2.query(MERCHANT, 'T20250101_0001')
  t.same(order, {
    api: 'v2',
    appid: 'wx2421b1c4370ec43b',
    mchid: '1900000109',
    outTradeNo: 'T20250101_0001',
    transactionId: '4200002400202501011234567890',
    state: 'SUCCESS',
    amount: { total: 100, payerTotal: 88, currency: 'CNY' },
    openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
    successTime: '2025-01-01T00:01:05.000Z',
    attach: 'a b',
    bankType: 'OTHERS'
  })
  t.match(raw, ORDER)
  t.notOk('sign' in raw)
  t.match(asked, [
    {
      path: '/pay/orderquery',
      fields: {
        appid: 'wx2421b1c4370ec43b',
        mch_id: '1900000109',
        out_trade_no: 'T20250101_0001',
        sign_type: 'HMAC-SHA256',
        nonce_str: /^[0-9a-f]{32}$/
      }
    }
  ])
  t.ok(asked.every(({ fields }) => signHolds(fields)))
  t.same(counted, [['orderquery', 'ok']])
})

t.test('query() needs all of a paid order, and of any other its state alone', async (t) => {
  const { v2, answer } = await fakeWechat(t)
  const states = [
    ['REFUND', 'REFUND'],
    ['NOTPAY', 'NOTPAY'],
    ['CLOSED', 'CLOSED'],
    ['ACCEPT', 'NOTPAY'],
    ['PAYERROR', 'PAYERROR']
  ] as const
  for (const [trade_state, state] of states) {
    answer(signed({ trade_state, out_trade_no: 'T20250101_0001' }))
    const { raw: _, ...order } = await v2.query(MERCHANT, 'T20250101_0001')
    t.same(order, {
      api: 'v2',
      appid: 'wx2421b1c4370ec43b',
      mchid: '1900000109',
      outTradeNo: 'T20250101_0001',
      state
    })
  }
  const bad = [
    signed({ ...ORDER, total_fee: '' }),
    signed({ ...ORDER, time_end: 'yesterday' }),
    signed({ ...ORDER, trade_state: 'WHATEVER' }),
    signed({ ...ORDER, out_trade_no: 'T20250101_0002' }),
    signed({ ...ORDER, mch_id: '1900000110' }),
    signed({ ...ORDER, appid: 'wxfedcba9876543210' }),
    signed(ORDER, 'x'.repeat(32)),
    signed(ORDER).replace('<![CDATA[100]]>', '<![CDATA[1]]>'),
    '<html></html>'
  ]
  for (const body of bad) {
    answer(body)
    await t.rejects(v2.query(MERCHANT, 'T20250101_0001'), { code: 'WECHAT_BAD_RESPONSE' }, body)
  }
  t.equal(bad.length, 9)
})

t.test('what WeChat refuses has a code of ours, and only its own fault is asked about again', async (t) => {
  const { v2, asked, counted, answer } = await fakeWechat(t)
  const codes = [
    ['ORDERNOTEXIST', 'NOT_FOUND'],
    ['SIGNERROR', 'WECHAT_CONFIG_INVALID'],
    ['APPID_MCHID_NOT_MATCH', 'WECHAT_CONFIG_INVALID'],
    ['FREQUENCY_LIMITED', 'WECHAT_RATE_LIMITED'],
    ['SOMETHING_NEW', 'PAY_REJECTED']
  ] as const
  for (const [word, code] of codes) {
    answer(refusal(word), signed(ORDER))
    await t.rejects(v2.query(MERCHANT, 'T20250101_0001'), { code, wechat: { code: word, message: '原因' } })
    t.equal(asked.length, 1, word)
    t.same(counted, [['orderquery', word]])
  }
  answer(failure('签名错误'))
  await t.rejects(v2.query(MERCHANT, 'T1234567'), { code: 'WECHAT_REJECTED', wechat: { message: '签名错误' } })
  answer(refusal('SYSTEMERROR'), signed(ORDER))
  t.equal((await v2.query(MERCHANT, 'T20250101_0001')).state, 'SUCCESS')
  t.not(asked[0]?.fields.nonce_str, asked[1]?.fields.nonce_str)
  answer(refusal('SYSTEMERROR'), refusal('SYSTEMERROR'), signed(ORDER))
  await t.rejects(v2.query(MERCHANT, 'T20250101_0001'), { code: 'WECHAT_BUSY' })
  t.equal(asked.length, 2)
  const { apiV2Key: _, ...keyless } = MERCHANT
  await t.rejects(v2.query(keyless, 'T20250101_0001'), { code: 'WECHAT_CONFIG_INVALID', message: /API_V2_KEY/ })
})

t.test('close() is done where the order is closed, and says so where it is paid', async (t) => {
  const { v2, asked, answer } = await fakeWechat(t)
  for (const body of [signed(), refusal('ORDERCLOSED')]) {
    answer(body)
    await v2.close(MERCHANT, 'T20250101_0001')
    t.match(asked, [{ path: '/pay/closeorder', fields: { out_trade_no: 'T20250101_0001' } }])
  }
  answer(refusal('ORDERPAID'))
  await t.rejects(v2.close(MERCHANT, 'T20250101_0001'), { code: 'PAY_REJECTED', message: /already paid/ })
  answer(refusal('ORDERNOTEXIST'))
  await t.rejects(v2.close(MERCHANT, 'T20250101_0001'), { code: 'NOT_FOUND' })
  answer(refusal('SYSTEMERROR'), signed())
  await v2.close(MERCHANT, 'T20250101_0001')
  t.equal(asked.length, 2)
})

t.test('refund() asks by the secure connections, and names where its notice is to come', async (t) => {
  const { v2, asked, identified, answer } = await fakeWechat(t)
  answer(signed(ACCEPTED))
  const { raw, ...refund } = madeOf(await refundOnce(v2, MERCHANT, REQUEST))
  t.same(refund, {
    api: 'v2',
    mchid: '1900000109',
    outTradeNo: 'T20250101_0001',
    transactionId: '4200002400202501011234567890',
    outRefundNo: 'R1',
    refundId: '50302500002025010112345678901',
    state: 'PROCESSING',
    amount: { total: 100, refund: 30 }
  })
  t.match(raw, ACCEPTED)
  t.same(identified, ['1900000109'])
  t.match(asked, [
    {
      path: '/secapi/pay/refund',
      fields: {
        out_trade_no: 'T20250101_0001',
        out_refund_no: 'R1',
        total_fee: '100',
        refund_fee: '30',
        refund_desc: '退货',
        notify_url: 'https://wx.example.test/wechat/pay/v2/1900000109/refund'
      }
    }
  ])
  t.ok(asked.every(({ fields }) => signHolds(fields)))
  answer(signed(ACCEPTED))
  await refundOnce(v2, MERCHANT, { ...REQUEST, transactionId: '4200002400202501011234567890' })
  t.match(asked[0]?.fields, { transaction_id: '4200002400202501011234567890' })
  t.notOk('out_trade_no' in (asked[0]?.fields ?? {}), 'one of the two')
})

t.test('refund() of unclear fate is queried by its number, and repeated only where WeChat has none', async (t) => {
  const { v2, asked, identified, answer } = await fakeWechat(t, 1000)
  const pathsAsked = () => asked.map(({ path }) => path)
  const unclear = {
    SYSTEMERROR: refusal('SYSTEMERROR'),
    BIZERR_NEED_RETRY: refusal('BIZERR_NEED_RETRY'),
    'no answer': silence,
    garbage: '<html></html>',
    'broken off': (response: { destroy(): void }) => response.destroy()
  }
  for (const [name, fault] of Object.entries(unclear)) {
    answer(fault, signed(FOUND))
    t.match(
      madeOf(await refundOnce(v2, MERCHANT, REQUEST)),
      { state: 'SUCCESS', refundId: FOUND.refund_id_1 ?? '' },
      name
    )
    t.same(pathsAsked(), ['/secapi/pay/refund', '/pay/refundquery'], name)

    answer(fault, refusal('REFUNDNOTEXIST'), signed(ACCEPTED))
    identified.length = 0
    t.match(madeOf(await refundOnce(v2, MERCHANT, REQUEST)), { state: 'PROCESSING' }, name)
    t.same(pathsAsked(), ['/secapi/pay/refund', '/pay/refundquery', '/secapi/pay/refund'], name)
    t.equal(identified.length, 2, 'the query needs no certificate')
    const [first, , second] = asked.map(({ fields: { nonce_str: _, sign: __, ...rest } }) => rest)
    t.same(second, first, 'unchanged')
  }
  answer(refusal('SYSTEMERROR'), refusal('REFUNDNOTEXIST'), refusal('SYSTEMERROR'), signed(ACCEPTED))
  t.match(await refundOnce(v2, MERCHANT, REQUEST), { error: { code: 'WECHAT_BUSY' }, mayExist: true })
  t.equal(asked.length, 3, 'once, not for ever')
  answer(refusal('SYSTEMERROR'), failure('x'), signed(ACCEPTED))
  t.match(await refundOnce(v2, MERCHANT, REQUEST), { error: { code: 'WECHAT_BUSY' }, mayExist: true })
  t.equal(asked.length, 2, 'not repeated while nobody knows')
  answer(refusal('SYSTEMERROR'), signed({ ...FOUND, refund_fee_1: '29' }))
  const another = { error: { code: 'PAY_REJECTED', message: /another refund/ }, mayExist: false }
  t.match(await refundOnce(v2, MERCHANT, REQUEST), another)
  answer(signed({ ...ACCEPTED, out_refund_no: 'R2' }), signed(FOUND))
  t.match(
    madeOf(await refundOnce(v2, MERCHANT, REQUEST)),
    { outRefundNo: 'R1' },
    'the answer of another number is none'
  )
})

t.test('refund() that is refused in words nobody knows is queried, and what is found decides', async (t) => {
  const { v2, asked, answer } = await fakeWechat(t)
  for (const strange of [refusal('SOMETHING_NEW'), failure('certificate error')]) {
    answer(strange, signed(FOUND))
    t.match(madeOf(await refundOnce(v2, MERCHANT, REQUEST)), { state: 'SUCCESS' })
    answer(strange, refusal('REFUNDNOTEXIST'), signed(ACCEPTED))
    t.match(await refundOnce(v2, MERCHANT, REQUEST), { error: { code: /^(PAY|WECHAT)_REJECTED$/ }, mayExist: false })
    t.equal(asked.length, 2, 'what was refused is not repeated')
    answer(strange, refusal('SOMETHING_NEW'))
    t.match(await refundOnce(v2, MERCHANT, REQUEST), { error: { code: 'WECHAT_BUSY' }, mayExist: true })
  }
})

t.test('refund() that WeChat refuses is asked for once', async (t) => {
  const { v2, asked, answer } = await fakeWechat(t)
  const codes = [
    ['NOTENOUGH', 'PAY_REJECTED'],
    ['TRADE_OVERDUE', 'PAY_REJECTED'],
    ['REFUND_FEE_MISMATCH', 'PAY_REJECTED'],
    ['ORDERNOTEXIST', 'NOT_FOUND'],
    ['NOAUTH', 'WECHAT_CONFIG_INVALID']
  ] as const
  for (const [word, code] of codes) {
    answer(refusal(word))
    t.match(await refundOnce(v2, MERCHANT, REQUEST), { error: { code, wechat: { code: word } }, mayExist: false })
    t.equal(asked.length, 1, word)
  }
  answer(refusal('INVALID_REQ_TOO_MUCH'))
  t.match(await refundOnce(v2, MERCHANT, REQUEST), { error: { code: 'WECHAT_RATE_LIMITED', retryAfterSeconds: 60 } })
})

t.test('queryRefund() finds ours among the refunds of an answer', async (t) => {
  const { v2, asked, answer } = await fakeWechat(t)
  answer(signed(FOUND))
  t.match(await v2.queryRefund(MERCHANT, 'R1'), {
    api: 'v2',
    outRefundNo: 'R1',
    state: 'SUCCESS',
    amount: { total: 100, refund: 30 },
    successTime: '2025-01-02T01:10:11.000Z'
  })
  t.match(asked, [{ path: '/pay/refundquery', fields: { out_refund_no: 'R1' } }])
  answer(signed(FOUND))
  t.match(await v2.queryRefund(MERCHANT, 'R0'), { state: 'CLOSED', amount: { refund: 1 } })
  answer(signed({ ...FOUND, refund_status_1: 'CHANGE' }))
  t.equal((await v2.queryRefund(MERCHANT, 'R1')).state, 'ABNORMAL')
  for (const change of [{ refund_status_1: 'x' }, { refund_fee_1: '' }, { out_refund_no_1: 'R2' }]) {
    answer(signed({ ...FOUND, ...change }))
    await t.rejects(v2.queryRefund(MERCHANT, 'R1'), { code: 'WECHAT_BAD_RESPONSE' })
  }
  answer(refusal('REFUNDNOTEXIST'))
  await t.rejects(v2.queryRefund(MERCHANT, 'R1'), { code: 'NOT_FOUND' })
})

t.test('bill() hands over CSV, packed or not, and tells every failure from it', async (t) => {
  const { v2, asked, answer } = await fakeWechat(t)
  const csv = `\ufeff交易时间,公众账号ID\r\n${'`2025-01-01 08:01:05,`wx2421b1c4370ec43b\r\n'.repeat(5000)}`
  const day = { kind: 'trade', date: '2025-01-01' } as const
  for (const body of [Buffer.from(csv), gzipSync(csv)]) {
    answer(body)
    t.equal(String(await buffer((await v2.bill(MERCHANT, day)).csv)), csv)
  }
  t.match(asked, [{ path: '/pay/downloadbill', fields: { bill_date: '20250101', bill_type: 'ALL', tar_type: 'GZIP' } }])
  answer(gzipSync(csv).subarray(0, -9))
  const { csv: broken } = await v2.bill(MERCHANT, day)
  await t.rejects(buffer(broken), { code: 'WECHAT_BAD_RESPONSE' })
  const failures = [
    [failure('No Bill Exist'), 'NOT_FOUND'],
    [failure('NO Bill Exist'), 'NOT_FOUND'],
    [failure('SYSTEMERROR'), 'WECHAT_BUSY'],
    [failure('CompressGZip Error'), 'WECHAT_BUSY'],
    [failure('签名错误'), 'WECHAT_REJECTED'],
    ['<html></html>', 'WECHAT_BAD_RESPONSE'],
    ['<xml><a></xml>', 'WECHAT_BAD_RESPONSE'],
    ['', 'WECHAT_BAD_RESPONSE']
  ] as const
  for (const [body, code] of failures) {
    answer(body)
    await t.rejects(v2.bill(MERCHANT, day), { code }, body)
  }
  answer(failure('Bill Creating'))
  await t.rejects(v2.bill(MERCHANT, day), { code: 'WECHAT_BUSY', retryAfterSeconds: 600 })
  await t.rejects(v2.bill(MERCHANT, { ...day, kind: 'fundflow' }), { code: 'PAY_REJECTED', message: /api v3/ })
})

t.test('prepay() tells whether WeChat may have made the order', async (t) => {
  const { v2, asked, answer } = await fakeWechat(t)
  const order = { ...RECORDED_ORDER, appid: 'wxfedcba9876543210' }
  const made = signed({ appid: order.appid, prepay_id: 'wx01' })
  const refused = (err_code: string) => signed({ appid: order.appid, result_code: 'FAIL', err_code })
  answer(made)
  t.match(await v2.prepay(MERCHANT, order), {
    status: 'made',
    prepayId: 'wx01',
    payParams: { timeStamp: '1735689600', package: 'prepay_id=wx01', signType: 'HMAC-SHA256' }
  })
  t.match(asked[0]?.fields, { appid: order.appid, total_fee: '100' })
  answer(refused('NOTENOUGH'))
  t.match(await v2.prepay(MERCHANT, order), { status: 'refused', error: { code: 'PAY_REJECTED' }, mayExist: false })
  answer(refused('SOMETHING_NEW'))
  t.match(await v2.prepay(MERCHANT, order), { status: 'refused', mayExist: true })
  answer(refused('SYSTEMERROR'), refused('NOTENOUGH'))
  t.match(await v2.prepay(MERCHANT, order), { status: 'refused', error: { code: 'PAY_REJECTED' }, mayExist: true })
  answer(refused('SYSTEMERROR'), made)
  t.match(await v2.prepay(MERCHANT, order), { status: 'made' })
  answer(failure('签名错误'))
  t.match(await v2.prepay(MERCHANT, order), { error: { code: 'WECHAT_REJECTED' }, mayExist: false })
})
