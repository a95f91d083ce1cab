/** GET /internal/pay/bills: a bill is complete, or the connection breaks. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { createGzip, gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { API_KEY, MCHID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
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
    const none = await call(app, `bills/${kind}?date=${DATE}&api=${api}`)
    refused(t, none, 404, 'NOT_FOUND', { message: /no bill of this day/ })
    pay.bill({ ...name, status: 'creating' })
    const creating = await call(app, `bills/${kind}?date=${DATE}&api=${api}`)
    refused(t, creating, 503, 'WECHAT_BUSY', { message: /still making this bill/ })
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

/** A WeChat that answers every question for a bill with what `write` puts into the connection. */
async function fetching(t: Test, write: (response: ServerResponse) => unknown) {
  const { origin } = await listenFor(t, (request, response) => {
    request.resume().once('end', () => write(response))
  })
  const { app } = await buildPay(t, { env: { WECHAT_PAY_ORIGIN: origin, WECHAT_TIMEOUT_MS: '1000' } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return async () => {
    const path = `/internal/pay/bills/trade?date=${DATE}&api=v2`
    const request = get({ port, path, headers: { authorization: `Bearer ${API_KEY}` } })
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    return answer
  }
}

const PIECE = randomBytes(512 * 1024).toString('hex')
const PIECES = 64

/** 64 MiB that gzip makes half of. `sent` counts what the connection has taken. */
async function* bill(sent: { bytes: number }, breakOff?: () => Promise<void>) {
  for (let piece = 0; piece < PIECES; piece += 1) {
    if (piece === PIECES / 2) await breakOff?.()
    sent.bytes += PIECE.length
    yield PIECE
  }
}

t.test('GET a bill of any length passes through: WeChat sends no faster than the caller reads', async (t) => {
  const sent = { bytes: 0 }
  const fetch = await fetching(t, (response) => pipeline(bill(sent), createGzip({ level: 1 }), response, () => {}))
  const answer = await fetch()
  t.equal(answer.statusCode, 200)
  answer.pause()
  for (let before = -1; before < sent.bytes; await pause(500)) before = sent.bytes
  t.ok(sent.bytes < (PIECES * PIECE.length) / 2, `${sent.bytes} bytes were sent to nobody who reads`)

  let size = 0
  for await (const chunk of answer) size += chunk.length
  t.equal(size, PIECES * PIECE.length)
})

t.test('GET a bill that stops coming ends after WECHAT_TIMEOUT_MS', async (t) => {
  const gzip = Buffer.from('1f8b0800000000000003', 'hex')
  const atOnce = await fetching(t, (response) => response.writeHead(200).write(gzip))
  const early = await atOnce()
  t.match(JSON.parse((await buffer(early)).toString()), { statusCode: 504, code: 'WECHAT_TIMEOUT' })

  const forEver = () => new Promise<void>(() => {})
  const later = await fetching(t, (response) =>
    pipeline(bill({ bytes: 0 }, forEver), createGzip({ level: 1 }), response, () => {})
  )
  const half = await later()
  t.equal(half.statusCode, 200)
  await t.rejects(buffer(half), { code: 'ECONNRESET' })
})

t.test('GET a bill whose connection breaks is broken off too', async (t) => {
  const fetch = await fetching(t, (response) => {
    const fail = async () => void response.destroy()
    pipeline(bill({ bytes: 0 }, fail), createGzip({ level: 1 }), response, () => {})
  })
  await t.rejects(buffer(await fetch()), { code: 'ECONNRESET' })
  const atOnce = await fetching(t, (response) => void response.writeHead(200).write('x', () => response.destroy()))
  t.match(JSON.parse((await buffer(await atOnce())).toString()), { statusCode: 502, code: /^WECHAT_/ })
})

t.test('GET a bill, and leave: WeChat need not go on', async (t) => {
  const left = Promise.withResolvers<void>()
  const fetch = await fetching(t, (response) => {
    response.once('close', left.resolve)
    pipeline(bill({ bytes: 0 }), createGzip({ level: 1 }), response, () => {})
  })
  const answer = await fetch()
  answer.destroy()
  await left.promise
  t.pass('the connection to WeChat was closed')
})

t.test('GET a bill that is wrong, and so short that nothing was passed on yet, is refused', async (t) => {
  const CHECKSUM_BYTES = 8
  const packed = gzipSync(CSV).subarray(0, -CHECKSUM_BYTES)
  const answers: [body: string | Buffer, code: string][] = [
    ['<html>busy</html>', 'WECHAT_BAD_RESPONSE'],
    ['', 'WECHAT_BAD_RESPONSE'],
    [`<xml><return_msg>${'x'.repeat(70_000)}</return_msg></xml>`, 'WECHAT_BAD_RESPONSE'],
    [Buffer.from('no UTF-8: \xe4\xf6', 'latin1'), 'WECHAT_BAD_RESPONSE'],
    [Buffer.from('it ends inside a character: 微').subarray(0, -1), 'WECHAT_BAD_RESPONSE'],
    [gzipSync(Buffer.from('\xe4\xf6', 'latin1')), 'WECHAT_BAD_RESPONSE'],
    [Buffer.concat([packed, Buffer.alloc(CHECKSUM_BYTES)]), 'WECHAT_BAD_RESPONSE'],
    [packed, 'WECHAT_BAD_RESPONSE'],
    ['<xml><return_code>FAIL</return_code><return_msg>NO Bill Exist</return_msg></xml>', 'NOT_FOUND']
  ]
  for (const [body, code] of answers) {
    const fetch = await fetching(t, (response) => response.end(body))
    t.match(JSON.parse((await buffer(await fetch())).toString()), { code }, String(body).slice(0, 20))
  }
})

t.test('GET a bill takes nothing for one that came with another HTTP status than 200', async (t) => {
  const failed = '<xml><return_code>FAIL</return_code><return_msg>Bill Creating</return_msg></xml>'
  const answers: [status: number, body: string, code: string][] = [
    [502, 'upstream connect error', 'WECHAT_BAD_RESPONSE'],
    [404, 'not found', 'WECHAT_BAD_RESPONSE'],
    [204, '', 'WECHAT_BAD_RESPONSE'],
    [500, failed, 'WECHAT_BUSY']
  ]
  for (const [status, body, code] of answers) {
    const fetch = await fetching(t, (response) => response.writeHead(status).end(body))
    t.match(JSON.parse((await buffer(await fetch())).toString()), { code }, String(status))
  }
})
