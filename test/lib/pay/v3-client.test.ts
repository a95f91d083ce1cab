/**
 * All APIv3 calls of the gateway, to a WeChat that verifies each request, makes errors, sends probes and breaks
 * connections.
 */
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import type { OrderRecord, RefundRequest } from '../../../lib/pay/model.ts'
import { refundOnce } from '../../../lib/pay/refund-once.ts'
import type { Sandbox } from '../../../sandbox/index.ts'
import { freePort } from '../../../tools/free-port.ts'
import { APPID, MCHID } from '../../helper.ts'
import { NO_WORKER } from '../../routes/wechat/notices.ts'
import { buildV3, keys, type Mode } from '../../routes/wechat/v3-notices.ts'
import { madeOf } from './made-of.ts'

const merchant = { mchid: MCHID, appids: [APPID] }
const order: OrderRecord = {
  api: 'v3',
  appid: APPID,
  mchid: MCHID,
  outTradeNo: 'T2025|0101*1',
  openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
  totalFen: 100,
  currency: 'CNY',
  description: '茶 & tea',
  attach: '甲&乙',
  createdAt: 1735689600
}
const refund: RefundRequest = {
  outTradeNo: order.outTradeNo,
  outRefundNo: 'R@2025|1*',
  amount: 40,
  total: 100,
  reason: '退'
}

const called = (pay: Sandbox, api: string) => pay.calls().filter((call) => call.api === api)

async function world(t: Test, options: { mode?: Mode; env?: Record<string, string> } = {}) {
  const env = { ...NO_WORKER, WECHAT_TIMEOUT_MS: '1000', ...options.env }
  const { app, pay } = await buildV3(t, { ...options, env })
  return { app, pay, api: app.pay.v3.api }
}

/** The order made, and paid without telling anybody. */
async function paid(t: Test, options: { mode?: Mode } = {}) {
  const made = await world(t, options)
  const outcome = await made.api.prepay(merchant, order)
  if (outcome.status !== 'made') throw outcome.error
  await made.pay.pay({ prepayId: outcome.prepayId, times: 0 })
  made.pay.clearCalls()
  return made
}

t.test('prepay(), query() and close() go through in every mode, each answer verified', async (t) => {
  for (const mode of ['public-key', 'certificates', 'both'] as const) {
    const { api, pay } = await world(t, { mode })
    const soon = { ...order, timeExpire: new Date(Date.now() + 600_000).toISOString() }
    const outcome = await api.prepay(merchant, soon)
    t.match(
      outcome,
      { status: 'made', prepayId: /^wx/, payParams: { signType: 'RSA', package: /^prepay_id=wx/ } },
      mode
    )
    const unpaid = { api: 'v3', appid: APPID, mchid: MCHID, outTradeNo: order.outTradeNo, state: 'NOTPAY' }
    t.match(await api.query(merchant, order.outTradeNo), unpaid)
    await api.close(merchant, order.outTradeNo)
    await api.close(merchant, order.outTradeNo)
    pay.fault({ api: 'v3_close', errcode: 'ORDER_CLOSED' })
    await api.close(merchant, order.outTradeNo)
    t.match(await api.query(merchant, order.outTradeNo), { state: 'CLOSED' })
    t.match(await api.prepay(merchant, soon), {
      status: 'refused',
      error: { code: 'PAY_REJECTED', wechat: { code: 'ORDER_CLOSED' } },
      mayExist: false
    })
    const asked = mode === 'certificates' ? undefined : keys.platformPublicKey.id
    for (const call of pay.calls()) t.match(call, { userAgent: 'wxgate', mchid: MCHID, wechatpaySerial: asked })
  }
})

t.test('query() and close() of a paid order, and of none', async (t) => {
  const { api } = await paid(t)
  t.match(await api.query(merchant, order.outTradeNo), {
    state: 'SUCCESS',
    transactionId: /^42\d+$/,
    amount: { total: 100, currency: 'CNY' },
    openid: order.openid,
    attach: '甲&乙'
  })
  await t.rejects(api.close(merchant, order.outTradeNo), { code: 'PAY_REJECTED', wechat: { code: 'ORDER_PAID' } })
  await t.rejects(api.query(merchant, 'NOBODYS_1'), { code: 'NOT_FOUND', wechat: { code: 'ORDER_NOT_EXIST' } })
})

t.test(
  'refund() and queryRefund(): accepted, repeated under the same number, and refused with other content',
  async (t) => {
    const { api, pay } = await paid(t)
    const accepted = madeOf(await refundOnce(api, merchant, refund))
    t.match(accepted, {
      api: 'v3',
      mchid: MCHID,
      outRefundNo: refund.outRefundNo,
      outTradeNo: order.outTradeNo,
      state: 'PROCESSING',
      amount: { total: 100, refund: 40 }
    })
    t.match(madeOf(await refundOnce(api, merchant, refund)), { refundId: accepted.refundId })
    t.match(await refundOnce(api, merchant, { ...refund, amount: 41 }), {
      error: { code: 'PAY_REJECTED', message: /was used for another refund/ },
      mayExist: false
    })
    await pay.refund({ outRefundNo: refund.outRefundNo, times: 0 })
    t.match(await api.queryRefund(merchant, refund.outRefundNo), { state: 'SUCCESS', successTime: /Z$/ })
    await t.rejects(api.queryRefund(merchant, 'NONE_1'), { code: 'NOT_FOUND' })
  }
)

t.test('a refund whose fate is unclear is queried first, and asked for again only where WeChat has none', async (t) => {
  const unclear = [
    { name: 'done, 500', fault: { errcode: 'SYSTEM_ERROR', processed: true }, asked: 1 },
    { name: 'not done, 500', fault: { errcode: 'SYSTEM_ERROR', processed: false }, asked: 2 },
    { name: 'not done, 429', fault: { errcode: 'FREQUENCY_LIMITED', processed: false }, asked: 2 },
    { name: 'done, reset', fault: { reset: true, processed: true }, asked: 1 },
    { name: 'not done, reset', fault: { reset: true, processed: false }, asked: 2 },
    { name: 'done, late', fault: { delayMs: 5000, processed: true }, asked: 1 },
    { name: 'done, probed', fault: { signature: 'signtest' as const }, asked: 1 },
    { name: 'done, forged answer', fault: { signature: 'wrong' as const }, asked: 1 }
  ]
  const { api, pay } = await paid(t)
  for (const [index, { name, fault, asked }] of unclear.entries()) {
    pay.clearCalls()
    pay.fault({ api: 'v3_refund', ...fault })
    const request = { ...refund, outRefundNo: `R${index}`, amount: 1 }
    t.match(madeOf(await refundOnce(api, merchant, request)), { state: 'PROCESSING', amount: { refund: 1 } }, name)
    t.equal(called(pay, 'v3_refund').length, asked, name)
    t.equal(called(pay, 'v3_refund_query').length, 1, name)
  }
  pay.clearCalls()
  pay.fault({ api: 'v3_refund', errcode: 'NOT_ENOUGH', processed: false })
  const clear = await refundOnce(api, merchant, { ...refund, outRefundNo: 'R99', amount: 1 })
  t.match(clear, { error: { code: 'PAY_REJECTED' }, mayExist: false })
  t.equal(pay.calls().length, 1, 'what is clear is not queried')
})

t.test("what is idempotent is repeated, signed anew, where the fault is WeChat's", async (t) => {
  const { api, pay } = await world(t)
  await api.prepay(merchant, order)
  const ask = () => api.query(merchant, order.outTradeNo)
  const repeated: [name: string, times: number, fault: object, tries: number, code?: string][] = [
    ['500 once', 1, { errcode: 'SYSTEM_ERROR' }, 2],
    ['503 twice', 2, { errcode: 'SERVICE_UNAVAILABLE' }, 3],
    ['500 for ever', 0, { errcode: 'SYSTEM_ERROR' }, 3, 'WECHAT_BUSY'],
    ['reset once', 1, { reset: true }, 2],
    ['reset for ever', 0, { reset: true }, 2, 'WECHAT_UNREACHABLE'],
    ['a probe', 1, { signature: 'signtest' }, 2],
    ['429', 0, { errcode: 'FREQUENCY_LIMITED' }, 1, 'WECHAT_RATE_LIMITED'],
    ['401', 0, { errcode: 'SIGN_ERROR' }, 1, 'WECHAT_CONFIG_INVALID'],
    ['silence', 0, { delayMs: 20_000 }, 1, 'WECHAT_TIMEOUT'],
    ['a page', 0, { garbage: true }, 1, 'WECHAT_BAD_RESPONSE'],
    ['unsigned', 0, { signature: 'absent' }, 1, 'WECHAT_BAD_RESPONSE'],
    ['forged', 0, { signature: 'wrong' }, 1, 'WECHAT_BAD_RESPONSE'],
    ['changed', 0, { signature: 'body' }, 1, 'WECHAT_BAD_RESPONSE'],
    ['300 s old', 0, { signature: 'stale' }, 1, 'WECHAT_BAD_RESPONSE'],
    ['of the future', 0, { signature: 'ahead' }, 1, 'WECHAT_BAD_RESPONSE'],
    ['by an unknown certificate', 0, { signature: 'unknown-serial' }, 1, 'WECHAT_BAD_RESPONSE'],
    ['of another merchant', 0, { overrides: { mchid: '1900000110' } }, 1, 'WECHAT_BAD_RESPONSE'],
    ['of another order', 0, { overrides: { out_trade_no: 'OTHER_1' } }, 1, 'WECHAT_BAD_RESPONSE']
  ]
  for (const [name, times, fault, tries, code = 'ok'] of repeated) {
    pay.clearFaults()
    pay.clearCalls()
    pay.fault({ api: 'v3_query', times, ...fault })
    const ended = await ask().then(
      () => 'ok',
      (error) => error.code
    )
    t.equal(ended, code, name)
    t.equal(called(pay, 'v3_query').length, tries, name)
  }
})

t.test('prepay() says whether WeChat may have made the order', async (t) => {
  const cases: [name: string, fault: object, outcome: object][] = [
    ['refused', { errcode: 'PARAM_ERROR' }, { mayExist: false, error: { code: 'PAY_REJECTED' } }],
    [
      'not our app',
      { errcode: 'APPID_MCHID_NOT_MATCH' },
      { mayExist: false, error: { code: 'WECHAT_CONFIG_INVALID' } }
    ],
    ['silence', { delayMs: 20_000 }, { mayExist: true, error: { code: 'WECHAT_TIMEOUT' } }],
    ['broken off', { reset: true }, { mayExist: true, error: { code: 'WECHAT_UNREACHABLE' } }],
    ['busy', { errcode: 'SYSTEM_ERROR' }, { mayExist: true, error: { code: 'WECHAT_BUSY' } }],
    ['forged', { signature: 'wrong' }, { mayExist: true, error: { code: 'WECHAT_BAD_RESPONSE' } }],
    ['no prepay_id', { overrides: { prepay_id: null } }, { mayExist: true, error: { code: 'WECHAT_BAD_RESPONSE' } }]
  ]
  const { api, pay } = await world(t)
  for (const [name, fault, outcome] of cases) {
    pay.clearFaults()
    pay.fault({ api: 'v3_prepay', times: 0, ...fault })
    t.match(await api.prepay(merchant, order), { status: 'refused', ...outcome }, name)
  }
  pay.clearFaults()
  pay.fault({ api: 'v3_prepay', errcode: 'SYSTEM_ERROR' })
  pay.fault({ api: 'v3_prepay', errcode: 'PARAM_ERROR' })
  t.match(await api.prepay(merchant, order), { mayExist: true }, 'refused, but only the second time')
})

t.test('the next host serves while the first cannot be reached', async (t) => {
  const { app, pay, api } = await paid(t)
  t.ok(app)
  const refusing = `http://127.0.0.1:${await freePort()}`
  const two = await buildV3(t, { env: { ...NO_WORKER, WECHAT_PAY_ORIGIN: `${refusing},${pay.origin}` } })
  t.match(await two.app.pay.v3.api.query(merchant, order.outTradeNo), { state: 'SUCCESS' })
  t.match(await api.query(merchant, order.outTradeNo), { state: 'SUCCESS' })
})

t.test('bill() gives CSV whose hash fits, and says what there is not', async (t) => {
  const { api, pay } = await paid(t)
  const date = new Date(Date.now() + 8 * 3_600_000).toISOString().slice(0, 10)
  for (const kind of ['trade', 'fundflow'] as const) {
    const request = { kind, date }
    const arrange = (change: object) => pay.bill({ mchid: MCHID, ...request, ...change })
    arrange({ csv: '交易时间,总金额\n`2026-01-01,`1.00\n' })
    t.equal(await text((await api.bill(merchant, request)).csv), '交易时间,总金额\n`2026-01-01,`1.00\n', kind)
    arrange({ status: 'none' })
    await t.rejects(api.bill(merchant, request), { code: 'NOT_FOUND', wechat: { code: 'NO_STATEMENT_EXIST' } })
    arrange({ status: 'creating' })
    await t.rejects(api.bill(merchant, request), { code: 'WECHAT_BUSY', retryAfterSeconds: 600 })
  }
  const request = { kind: 'trade', date } as const
  pay.bill({ mchid: MCHID, ...request, csv: 'another' })
  pay.fault({ api: 'v3_trade_bill', overrides: { hash_value: '0'.repeat(40) } })
  await t.rejects(text((await api.bill(merchant, request)).csv), {
    code: 'WECHAT_BAD_RESPONSE',
    detail: /another hash/
  })
  pay.fault({ api: 'v3_trade_bill', overrides: { download_url: 'https://elsewhere.example.test/v3/nothing' } })
  await t.rejects(api.bill(merchant, request), { code: /NOT_FOUND|WECHAT_BAD_RESPONSE/ }, 'never another host')
  pay.fault({ api: 'v3_bill_download', errcode: 'SYSTEM_ERROR' })
  await t.rejects(api.bill(merchant, request), { code: 'WECHAT_BUSY' })
})
