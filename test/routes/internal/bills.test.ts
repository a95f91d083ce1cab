/** GET /internal/pay/bills: whole, or plainly broken off. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { API_KEY, MCHID } from '../../helper.ts'
import { refused } from './order.ts'
import { buildPay, call, OTHER_MCHID } from './pay-world.ts'

const DATE = '2026-01-15'
const CSV = `交易时间,总金额\r\n\`2026-01-15 08:00:00,\`0.88\r\n`

for (const [kind, api] of [
  ['trade', 'v2'],
  ['trade', 'v3'],
  ['fundflow', 'v3']
] as const) {
  t.test(`GET the ${kind} bill by ${api}`, async (t) => {
    const { app, pay } = await buildPay(t)
    const name = { mchid: MCHID, kind, date: DATE }
    pay.bill({ ...name, csv: CSV })
    const answer = await call(app, `bills/${kind}?date=${DATE}&api=${api}`)
    t.equal(answer.statusCode, 200, answer.body)
    t.match(answer.headers, { 'content-type': 'text/csv; charset=utf-8', 'cache-control': 'no-store' })
    t.equal(answer.body, CSV)
    pay.bill({ ...name, status: 'none' })
    refused(t, await call(app, `bills/${kind}?date=${DATE}&api=${api}`), 404, 'NOT_FOUND')
    pay.bill({ ...name, status: 'creating' })
    const creating = await call(app, `bills/${kind}?date=${DATE}&api=${api}`)
    refused(t, creating, 503, 'WECHAT_BUSY')
    t.ok(Number(creating.headers['retry-after']) > 60)
  })
}

t.test('GET a bill that is long', async (t) => {
  const { app, pay } = await buildPay(t)
  const csv = CSV.repeat(50_000)
  pay.bill({ mchid: MCHID, kind: 'trade', date: DATE, csv })
  t.ok((await call(app, `bills/trade?date=${DATE}`)).body === csv)
})

t.test('GET a bill: whose, which, and by which api', async (t) => {
  const { app, pay } = await buildPay(t, { both: true })
  pay.bill({ mchid: OTHER_MCHID, kind: 'trade', date: DATE, csv: CSV })
  refused(t, await call(app, `bills/trade?date=${DATE}`), 400, 'APP_UNKNOWN', { message: /mchid/ })
  refused(t, await call(app, `bills/trade?date=${DATE}&mchid=1900000999`), 400, 'APP_UNKNOWN')
  t.equal((await call(app, `bills/trade?date=${DATE}&mchid=${OTHER_MCHID}`)).body, CSV)
  const byV2 = await call(app, `bills/fundflow?date=${DATE}&mchid=${OTHER_MCHID}&api=v2`)
  refused(t, byV2, 422, 'PAY_REJECTED', { message: /v3/ })
})

t.test('GET a bill of a day that is none, or not yet, is refused before WeChat is asked', async (t) => {
  const now = Date.parse('2026-01-20T15:59:00Z')
  const { app, pay } = await buildPay(t, { now: () => now })
  const wrong = [
    '',
    '?date=',
    '?date=20260115',
    '?date=2026-1-5',
    '?date=2026-02-30',
    '?date=tomorrow',
    '?date=2026-01-15T00'
  ]
  for (const query of [...wrong, `?date=${DATE}&x=1`])
    refused(t, await call(app, `bills/trade${query}`), 400, 'FST_ERR_VALIDATION', { message: /querystring/ })
  refused(t, await call(app, `bills/all?date=${DATE}`), 400, 'FST_ERR_VALIDATION')
  const future = await call(app, 'bills/trade?date=2026-01-21')
  refused(t, future, 400, 'FST_ERR_VALIDATION', { message: /future/ })
  t.same(pay.calls(), [])
})

t.test('GET a bill whose hash is another never gives it as a whole one', async (t) => {
  const { app, pay } = await buildPay(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const headers = { authorization: `Bearer ${API_KEY}` }
  const wrongHash = { hash_value: '0'.repeat(40) }

  pay.bill({ mchid: MCHID, kind: 'trade', date: DATE, csv: CSV })
  pay.fault({ api: 'v3_trade_bill', overrides: wrongHash })
  const short = await call(app, `bills/trade?date=${DATE}`)
  refused(t, short, 502, 'WECHAT_BAD_RESPONSE')
  t.match(short.headers['content-type'], /^application\/json/)

  const csv = CSV.repeat(50_000)
  pay.bill({ mchid: MCHID, kind: 'trade', date: DATE, csv })
  pay.fault({ api: 'v3_trade_bill', overrides: wrongHash })
  const request = get({ port, path: `/internal/pay/bills/trade?date=${DATE}`, headers })
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  t.match(answer, { statusCode: 200, headers: { 'transfer-encoding': 'chunked' } })
  t.notOk(answer.headers['content-length'])
  await t.rejects(buffer(answer), { code: 'ECONNRESET' })
  t.equal(answer.complete, false)
})
