/** The endpoint for v2 refund notices. They are not signed, so only a refund that WeChat confirms becomes an event. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { TRIES } from '../../../lib/events/model.ts'
import { Orders, RefundRecords } from '../../../lib/pay/records.ts'
import {
  type ConfirmationReport,
  type ConfirmationWorkerOptions,
  startRefundConfirmations
} from '../../../lib/pay/refund-confirmations.ts'
import { connectPatient } from '../../../lib/redis/connect.ts'
import { MCHID, OTHER_APPID } from '../../helper.ts'
import { ask } from '../internal/backend.ts'
import { ORDER } from '../internal/order.ts'
import { type Forgeries, refusesAlike } from './faces.ts'
import {
  answeredBy,
  answers,
  counted,
  eventsIn,
  keysOf,
  NO_WORKER,
  notify,
  payment,
  SUCCESS,
  signed,
  tally
} from './notices.ts'
import {
  API_V2_KEY,
  buildRefund,
  noticeOf,
  OUT_REFUND_NO,
  putAside,
  type RefundWorld,
  refundEvents,
  rootOf,
  seal,
  tell,
  unconfirmed
} from './refund-notices.ts'

/** But for the list of what was refused. */
const tracesIn = async (app: FastifyInstance) => (await keysOf(app)).filter((name) => !name.includes('{callbacks}'))
const apisAsked = ({ pay }: RefundWorld) => pay.calls().map(({ api }) => api)

/** A worker without pauses, and what the first notice came to; it ends then. */
function confirming(
  t: Test,
  { app, env }: RefundWorld,
  change: Partial<ConfirmationWorkerOptions> = {}
): Promise<ConfirmationReport> {
  const settled = Promise.withResolvers<ConfirmationReport>()
  const redis = connectPatient(String(env.REDIS_URL), () => undefined)
  const worker = startRefundConfirmations({
    redis,
    prefix: app.keys.refundConfirmations,
    confirm: (mchid, body) => app.pay.confirmRefund(mchid, body),
    giveUp: (notice) => app.pay.giveUpRefund(notice),
    onSettled: settled.resolve,
    onError: () => undefined,
    pauseMs: () => 20,
    ...change
  })
  t.teardown(async () => {
    await worker.close()
    redis.disconnect()
  })
  return settled.promise.finally(() => worker.close())
}

t.test('rows 1 and 2: what WeChat confirms is recorded once, and every repeat gets the same success', async (t) => {
  const world = await buildRefund(t)
  const { pay, backend, notifyUrls, idOf, logs } = world
  const { notices } = await pay.refund({ outRefundNo: OUT_REFUND_NO, notifyUrls, times: 3 })
  t.match(notices, [{ status: 200, body: SUCCESS }, { status: 200 }, { status: 200 }])
  const event = await backend.waitFor(({ type }) => type === 'refund.succeeded')
  const { transactionId, paidAt: _ } = pay.order(ORDER.outTradeNo)
  const { raw, successTime, ...data } = event.data as Record<string, unknown>
  t.equal(event.id, idOf('SUCCESS'))
  t.same(data, {
    api: 'v2',
    mchid: MCHID,
    outTradeNo: ORDER.outTradeNo,
    transactionId,
    outRefundNo: OUT_REFUND_NO,
    refundId: idOf('SUCCESS').split('_')[2],
    amount: { total: 88, refund: 30 }
  })
  t.match(successTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/)
  t.match(raw, { refund_status: 'SUCCESS', refund_fee: '30', refund_recv_accout: '支付用户零钱' })
  await counted(t, world, { 'pay-v2-refund recorded ': 1, 'pay-v2-refund duplicate ': 2 })
  t.same(apisAsked(world), ['refundquery', 'refundquery', 'refundquery'])
  t.equal(backend.events().filter(({ type }) => type.startsWith('refund')).length, 1)
  t.notMatch(logs(), '支付用户零钱')
})

t.test(
  'row 23: each state is an event of its own, also before its payment; a late notice of an earlier one is none',
  async (t) => {
    const world = await buildRefund(t, { env: NO_WORKER })
    const { app, pay, notifyUrls, idOf } = world
    const tellState = (status: 'SUCCESS' | 'ABNORMAL', noticeOnly = false) =>
      pay.refund({ outRefundNo: OUT_REFUND_NO, status, noticeOnly, notifyUrls })
    t.match((await tellState('ABNORMAL')).notices, [{ status: 200 }])
    t.match(await refundEvents(app), [{ id: idOf('ABNORMAL'), type: 'refund.abnormal' }])
    t.match((await tellState('SUCCESS')).notices, [{ status: 200 }])
    t.match((await tellState('ABNORMAL', true)).notices, [{ status: 200 }])
    const ids = (await refundEvents(app)).map(({ id }) => id)
    t.same(ids.sort(), [idOf('ABNORMAL'), idOf('SUCCESS')])
    const records = new RefundRecords(app.redis, app.keys)
    t.equal(await records.advance(MCHID, OUT_REFUND_NO, 'PROCESSING'), 'SUCCESS', 'its state goes forward only')
    await counted(t, world, { 'pay-v2-refund recorded ': 2, 'pay-v2-refund duplicate ': 1 })

    const { out_trade_no = '', transaction_id = '', total_fee = '' } = world.fields()
    const paid = payment({ out_trade_no, transaction_id, total_fee })
    answers(t, await notify(app, signed(paid, API_V2_KEY)), 200)
    t.match(await eventsIn(app), [{ type: 'payment.succeeded', data: { transactionId: transaction_id } }])
    t.equal(
      await new Orders(app.redis, app.keys).stateOf(MCHID, out_trade_no),
      'REFUND',
      'a late payment undoes nothing'
    )

    const closed = await buildRefund(t, { env: NO_WORKER })
    await closed.pay.refund({ outRefundNo: OUT_REFUND_NO, status: 'CLOSED', times: 0 })
    answers(t, await tell(closed.app, closed.sealed({ refund_status: 'CHANGE' })), 200)
    t.match(
      await refundEvents(closed.app),
      [{ id: closed.idOf('CLOSED'), type: 'refund.closed', data: { raw: { refund_status_0: 'REFUNDCLOSE' } } }],
      'what WeChat says now counts'
    )
  }
)

t.test('rows 4, 10, 11, 15 and 29: what does not open is shown one face, and leaves nothing behind', async (t) => {
  const world = await buildRefund(t, { env: NO_WORKER })
  const { app, fields, sealed } = world
  const inner = rootOf(fields())
  const forgeries: Forgeries<string> = {
    'sealed under another key': ['req_info', noticeOf(seal(inner, randomBytes(16).toString('hex')))],
    'not sealed': ['req_info', noticeOf(Buffer.from(inner).toString('base64'))],
    'cut short': ['req_info', noticeOf(seal(inner, API_V2_KEY).slice(0, 64))],
    'not base64': ['req_info', noticeOf('***')],
    empty: ['req_info', noticeOf('')],
    'another root': ['req_info', noticeOf(seal(inner.replaceAll('root>', 'xml>'), API_V2_KEY))],
    'a DOCTYPE inside': [
      'req_info',
      noticeOf(seal(`<!DOCTYPE root [<!ENTITY a SYSTEM "file:///etc/passwd">]>${inner}`, API_V2_KEY))
    ],
    'a DOCTYPE': ['doctype', `<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]>${sealed()}`],
    'an attribute': ['attribute', sealed().replace('<appid>', '<appid x="1">')],
    'an element twice': ['duplicate', sealed().replace('</xml>', '<appid>x</appid></xml>')],
    'an element in another': ['nested', sealed().replace('</xml>', '<a><b>x</b></a></xml>')],
    'return_code FAIL': ['req_info', '<xml><return_code>FAIL</return_code></xml>'],
    'v3 JSON': ['wrong-door', '{"id":"EV-2018","event_type":"REFUND.SUCCESS"}'],
    nothing: ['shape', '']
  }
  t.equal(Object.keys(forgeries).length, 14)
  await refusesAlike(t, forgeries, {
    send: (body) => tell(app, body),
    check: (answer) => answers(t, answer, 401),
    traces: () => tracesIn(app)
  })
  t.same(apisAsked(world), [], 'WeChat is not asked for anybody')
  await counted(t, world, tally(Object.values(forgeries).map(([reason]) => `pay-v2-refund refused ${reason}`)))
})

t.test('row 8: an address of no merchant of ours, or of one without an APIv2 key, is 404', async (t) => {
  const world = await buildRefund(t, { v3: true, env: NO_WORKER })
  const { app, another, sealed } = world
  for (const mchid of ['1900000110', 'x', '__proto__'])
    answers(t, await tell(app, sealed(), { url: `/wechat/pay/v2/${mchid}/refund` }), 404)
  await counted(t, world, { 'pay-v2-refund unknown-merchant ': 3 })
  answers(t, await tell(await another({ WECHAT_PAY_API_V2_KEY: undefined }), sealed()), 404)
  t.same(await refundEvents(app), [])
})

t.test('rows 12 and 13: bytes decide and not their label, but what is compressed is not taken', async (t) => {
  const world = await buildRefund(t, { env: NO_WORKER })
  const { app, pay, sealed } = world
  await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
  for (const label of ['text/xml', 'application/json', 'nonsense', ''])
    answers(t, await tell(app, sealed(), { headers: { 'content-type': label } }), 200)
  for (const encoding of ['gzip', 'br', 'identity, gzip'])
    answers(t, await tell(app, sealed(), { headers: { 'content-encoding': encoding } }), 415)
  const taken = { 'pay-v2-refund recorded ': 1, 'pay-v2-refund duplicate ': 3 }
  await counted(t, world, taken, { 'pay-v2-refund refused encoding': 3 })
  t.equal(await answeredBy(app, 'v2/:mchid/refund', 415), 3)
})

t.test(
  'rows 16, 17 and 18: what contradicts our settings, our order or WeChat is refused and kept, once',
  async (t) => {
    const world = await buildRefund(t, { env: NO_WORKER })
    const { app, pay, sealed, idOf, logs } = world
    await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
    const contradictions: [string, string][] = [
      ['wrong-merchant', sealed({ refund_id: '50001' }, { mch_id: '1900000110' })],
      ['wrong-appid', sealed({ refund_id: '50002' }, { appid: OTHER_APPID })],
      ['amount-mismatch', sealed({ refund_id: '50003', total_fee: '89' })],
      ['other-content', sealed({ refund_id: '50004' })],
      ['other-content', sealed({ refund_fee: '31' })],
      ['unknown-refund', sealed({ refund_id: '50006', out_refund_no: 'NOBODYS_1' })],
      ['refund_fee', sealed({ refund_fee: '89' })],
      ['refund_status', sealed({ refund_status: 'DONE' })]
    ]
    for (const [, body] of contradictions) {
      answers(t, await tell(app, body), 500)
      answers(t, await tell(app, body), 500)
    }
    const wanted = contradictions.map(([reason, body]) => `pay-v2-refund ${MCHID} ${reason} ${body}`)
    t.same((await putAside(app)).sort(), wanted.sort())
    t.same(await refundEvents(app), [])
    for (const reason of ['wrong-merchant', 'wrong-appid', 'amount-mismatch', 'other-content', 'unknown-refund'])
      t.match(logs(), new RegExp(`"level":50,[^\\n]*"verdict":"quarantined","reason":"${reason}"`), 'an alarm')
    const kinds = contradictions.flatMap(([reason]) => Array(2).fill(`pay-v2-refund quarantined ${reason}`))
    await counted(t, world, tally(kinds))
    answers(t, await tell(app, sealed()), 200)
    t.match(await refundEvents(app), [{ id: idOf('SUCCESS') }], 'the true one is not held up by them')
  }
)

t.test('row 21: a refund that is still under way is nothing to tell', async (t) => {
  const world = await buildRefund(t, { env: NO_WORKER })
  answers(t, await tell(world.app, world.sealed({ refund_status: 'PROCESSING' })), 200)
  t.same([...apisAsked(world), ...(await refundEvents(world.app)), ...(await unconfirmed(world.app))], [])
  await counted(t, world, { 'pay-v2-refund not-success ': 1 })
})

t.test('row 24: where WeChat cannot be asked the notice is stored, and any worker has it confirmed', async (t) => {
  const world = await buildRefund(t, { env: { ...NO_WORKER, WECHAT_TIMEOUT_MS: '60000' } })
  const { app, another, pay, backend, sealed, idOf, logs } = world
  await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
  const troubles = [{ garbage: true }, { errmsg: '签名错误' }, { reset: true }, { delayMs: 120_000 }]
  for (const trouble of troubles) {
    pay.fault({ api: 'refundquery', ...trouble })
    const startedAt = performance.now()
    answers(t, await tell(app, sealed()), 200)
    t.ok(performance.now() - startedAt < 2000, JSON.stringify(trouble))
  }
  t.same(apisAsked(world), Array(troubles.length).fill('refundquery'), 'asked first, each time')
  t.same(await unconfirmed(app), [idOf('SUCCESS')], 'once')
  t.same(await refundEvents(app), [], 'nobody is told yet')
  await counted(t, world, { 'pay-v2-refund unconfirmed ': troubles.length })
  const waiting = await app.redis.hget(`${app.keys.refundConfirmations}:refund-confirmation:${idOf('SUCCESS')}`, 'data')
  t.notMatch(waiting, 'bank card', 'it waits as it came, sealed')

  await another({ ROLES: 'worker' })
  t.match(await backend.waitFor(({ accepted }) => accepted), { id: idOf('SUCCESS'), type: 'refund.succeeded' })
  answers(t, await tell(app, sealed()), 200)
  t.match(logs(), '"verdict":"duplicate"')
  t.equal(backend.events().length, 1)
  t.same([...(await refundEvents(app)).map(({ id }) => id), ...(await unconfirmed(app))], [idOf('SUCCESS')], 'once')
})

t.test('row 24: a worker asks again until WeChat says what its notice says', async (t) => {
  const world = await buildRefund(t, { env: NO_WORKER })
  const { app, pay, sealed, idOf } = world
  answers(t, await tell(app, sealed()), 200)
  t.same(await unconfirmed(app), [idOf('SUCCESS')], 'WeChat still calls it PROCESSING')

  const asked = Promise.withResolvers<void>()
  let tries = 0
  const settled = confirming(t, world, {
    confirm(mchid, body) {
      if (++tries === 3) asked.resolve()
      return app.pay.confirmRefund(mchid, body)
    }
  })
  await asked.promise
  t.same(await refundEvents(app), [])
  await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
  t.match(await settled, { mchid: MCHID, verdict: 'recorded', id: idOf('SUCCESS') })
  t.match(await refundEvents(app), [{ id: idOf('SUCCESS'), data: { raw: { refund_recv_accout: 'bank card 0403' } } }])
})

t.test(
  'row 24: what WeChat did not confirm for three days waits in quarantine, and is recorded on retry',
  async (t) => {
    const world = await buildRefund(t, { env: NO_WORKER })
    const { app, pay, sealed, idOf } = world
    answers(t, await tell(app, sealed()), 200)
    let refusals = 1
    const settled = confirming(t, world, {
      giveUp(notice) {
        if (refusals-- > 0) throw new Error('READONLY')
        return app.pay.giveUpRefund(notice)
      }
    })
    t.match(await settled, { mchid: MCHID, verdict: 'quarantined', reason: 'unconfirmed', id: idOf('SUCCESS') })
    t.equal(apisAsked(world).length, 1 + TRIES + 1, 'once at the door, and once more since it could not be put aside')
    t.same([await refundEvents(app), await unconfirmed(app)], [[], []])
    const { items } = (await ask(app, { url: '/internal/callbacks/quarantined' })).json()
    t.match(items, [{ identity: idOf('SUCCESS'), door: 'pay-v2-refund', reason: 'unconfirmed', times: 1 }])

    const retry = () => ask(app, { method: 'POST', url: `/internal/callbacks/quarantined/${items[0].id}/retry` })
    t.match((await retry()).json(), { verdict: 'unconfirmed' })
    t.same(await unconfirmed(app), [idOf('SUCCESS')], 'it waits for WeChat once more')
    await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
    t.match(await confirming(t, world), { verdict: 'recorded', id: idOf('SUCCESS') })
    t.match(await refundEvents(app), [{ id: idOf('SUCCESS') }])
    t.equal((await retry()).statusCode, 404)
  }
)

t.test('confirm() holds on to a notice that its settings do not open today', async (t) => {
  const { app, another, sealed, pay, idOf } = await buildRefund(t, { v3: true, env: NO_WORKER })
  await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
  const body = Buffer.from(sealed())
  const changed = await another({ WECHAT_PAY_API_V2_KEY: randomBytes(16).toString('hex') })
  await t.rejects(changed.pay.confirmRefund(MCHID, body), /not settled/)
  const keyless = await another({ WECHAT_PAY_API_V2_KEY: undefined })
  await t.rejects(keyless.pay.confirmRefund(MCHID, body), /not settled/)
  t.match(await app.pay.confirmRefund(MCHID, body), { verdict: 'recorded', id: idOf('SUCCESS') })
})

t.test('a refund made by v3 is confirmed by v3, and by v2 where that cannot be asked', async (t) => {
  const world = await buildRefund(t, { v3: true, env: NO_WORKER })
  const { app, pay, sealed, idOf } = world
  await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
  answers(t, await tell(app, sealed()), 200)
  t.same(apisAsked(world), ['v3_refund_query'])
  t.match(await refundEvents(app), [{ id: idOf('SUCCESS'), data: { api: 'v2', amount: { total: 88, refund: 30 } } }])
  pay.clearCalls()
  pay.fault({ api: 'v3_refund_query', errcode: 'NO_AUTH', httpStatus: 403 })
  answers(t, await tell(app, sealed()), 200)
  t.same(apisAsked(world), ['v3_refund_query', 'refundquery'])
  t.same(await unconfirmed(app), [])
})
