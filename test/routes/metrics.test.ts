/** /metrics: who may read it, that it counts exactly what happened, and that no caller can make it grow. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { startRedis } from '../../tools/redis.ts'
import { API_KEY, APPID, build, logIn, MCHID, type World } from '../helper.ts'
import { bearer, get, hold, login, post, refused, startHeldWechat, until } from './api/client.ts'
import { order } from './internal/order.ts'
import { fetchMetrics, scrape, valuesOf } from './metrics.ts'
import { notify, payment, remember, signed } from './wechat/notices.ts'
import { plainPush, SAFE, safePush, send as sendPush, textMessage } from './wechat/pushes.ts'

t.test('/metrics is for holders of an API key, whatever ROLES says, and not there without keys', async (t) => {
  const { app, another } = await build(t)
  refused(t, await fetchMetrics(app, {}), 401, 'TOKEN_MISSING')
  refused(t, await fetchMetrics(app, bearer(`${API_KEY}x`)), 401, 'TOKEN_INVALID')
  refused(t, await fetchMetrics(await another({ INTERNAL_API_KEYS: undefined })), 404, 'NOT_FOUND')
  for (const ROLES of ['api', 'worker', 'api,worker']) {
    const answer = await fetchMetrics(await another({ ROLES }))
    t.equal(answer.statusCode, 200, ROLES)
    t.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    t.match(answer.body, /^wxgate_info\{version="\d+\.\d+\.\d+"\} 1$/m)
    t.match(answer.body, /^nodejs_eventloop_lag_seconds /m)
    t.match(answer.body, /^nodejs_heap_size_used_bytes /m)
  }
})

t.test('refusals are counted by code, requests by route and status', async (t) => {
  const { app, sandbox } = await build(t)
  const { headers } = await logIn(app, sandbox)
  await get(app, '/api/session', headers)
  await get(app, '/api/session/', headers)
  await get(app, '/api/session')
  await get(app, '/api/session', bearer('x'))
  await login(app, 'no-such-code')
  await login(app, 'no-such-code')
  await post(app, '/api/login', {})
  await post(app, '/api/login', { code: 'c', appid: 'wx0000000000000000' })
  await get(app, '/nothing/here')
  await get(app, '/%zz')
  t.same(await valuesOf(app, 'refusals_total'), {
    TOKEN_MISSING: 1,
    TOKEN_INVALID: 1,
    CODE_INVALID: 2,
    FST_ERR_VALIDATION: 1,
    APP_UNKNOWN: 1,
    NOT_FOUND: 1,
    FST_ERR_BAD_URL: 1
  })
  t.same(await valuesOf(app, 'http_requests_total'), {
    'POST /api/login 200': 1,
    'POST /api/login 400': 2,
    'POST /api/login 401': 2,
    'GET /api/session 200': 2,
    'GET /api/session 401': 2,
    'GET (none) 404': 1,
    'GET (none) 400': 1,
    'GET /metrics 200': 1
  })
  t.match(await valuesOf(app, 'http_request_duration_seconds_count'), { 'GET /api/session': 4, 'GET (none)': 2 })
  t.same(await valuesOf(app, 'session_read_duration_seconds_count'), { '': 2 })
})

t.test('a client that went away before its answer is counted once, and apart', async (t) => {
  const wechat = await startHeldWechat(t)
  const { app } = await build(t, { env: { WECHAT_API_ORIGIN: wechat.origin } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const connected = once(app.server, 'connection')
  const client = connect(port, '127.0.0.1')
  client.write('POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n')
  client.write('content-length: 12\r\n\r\n{"code":"c"}')
  const [[socket]] = await Promise.all([connected, wechat.arrived()])
  const gone = once(socket, 'close')
  client.destroy()
  await gone
  wechat.release({ errcode: 40029 })
  await until(async () => (await valuesOf(app, 'http_requests_aborted_total'))['POST /api/login'] === 1)
  t.notMatch(await valuesOf(app, 'http_requests_total'), { 'POST /api/login 401': 1 })
})

t.test(
  'logins, refreshes and access tokens are counted by app and outcome, calls to WeChat by what it said',
  async (t) => {
    const { app, sandbox } = await build(t)
    const { refreshToken, headers } = await logIn(app, sandbox)
    sandbox.fault({ api: 'code2session', errcode: -1, times: 2 })
    await login(app, sandbox.login({ appid: APPID }).code)
    sandbox.fault({ api: 'code2session', errcode: 12_345_678 })
    await login(app, sandbox.login({ appid: APPID }).code)
    await login(app, 'c', 'wx0000000000000000')
    await post(app, '/api/token/refresh', { refreshToken })
    await post(app, '/api/token/refresh', { refreshToken: 'x.y' })
    sandbox.fault({ api: 'stable_token', errcode: 40125 })
    await post(app, '/api/phone', { code: 'c' }, headers)
    sandbox.fault({ api: 'unifiedorder', errcode: 'NOTENOUGH' })
    await order(app)
    await order(app)
    t.same(await valuesOf(app, 'logins_total'), {
      [`${APPID} ok`]: 1,
      [`${APPID} WECHAT_BUSY`]: 1,
      [`${APPID} WECHAT_REJECTED`]: 1,
      'unknown APP_UNKNOWN': 1
    })
    t.same(await valuesOf(app, 'refreshes_total'), { [`${APPID} ok`]: 1, 'unknown REFRESH_INVALID': 1 })
    t.same(await valuesOf(app, 'access_token_renewals_total'), { [`${APPID} WECHAT_CONFIG_INVALID`]: 1 })
    t.same(await valuesOf(app, 'upstream_calls_total'), {
      'jscode2session ok': 1,
      'jscode2session -1': 2,
      'jscode2session other': 1,
      'stable_token 40125': 1,
      'unifiedorder NOTENOUGH': 1,
      'unifiedorder ok': 1
    })
    t.match(await valuesOf(app, 'upstream_call_duration_seconds_count'), { jscode2session: 4, unifiedorder: 2 })
  }
)

t.test('a call that WeChat does not answer counts under our own code', async (t) => {
  const { app, sandbox } = await build(t, { env: { WECHAT_TIMEOUT_MS: '1000' } })
  sandbox.fault({ api: 'code2session', delayMs: 60_000 })
  refused(t, await login(app, sandbox.login({ appid: APPID }).code), 504, 'WECHAT_TIMEOUT')
  t.same(await valuesOf(app, 'upstream_calls_total'), { 'jscode2session WECHAT_TIMEOUT': 1 })
  t.same(await valuesOf(app, 'logins_total'), { [`${APPID} WECHAT_TIMEOUT`]: 1 })
})

t.test('data is counted by the place of the session_key that opened it', async (t) => {
  const { app, sandbox } = await build(t)
  const openid = 'oMetersOfSessionKeys'
  const { headers } = await logIn(app, sandbox, openid)
  const oldest = sandbox.openData({ appid: APPID, openid, data: { openGId: 'g' } })
  const read = () => post(app, '/api/userdata', { encryptedData: oldest.encryptedData, iv: oldest.iv }, headers)
  await read()
  for (const key of [1, 2, 3]) {
    await hold(app, APPID, openid, Buffer.alloc(16, key).toString('base64'))
    await read()
  }
  t.same(await valuesOf(app, 'session_key_tries_total'), { 0: 1, 1: 1, 2: 1, none: 1 })
})

t.test('callbacks are counted by verdict and reason, and when none was reached', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app, secrets } = await build(t, { env: { ROLES: 'api' }, redis })
  await remember(app)
  const paid = signed(payment(), secrets.apiV2Key)
  await notify(app, paid)
  await notify(app, paid)
  await notify(app, paid.replace('100', '101'))
  await notify(app, '<!DOCTYPE xml><xml/>')
  await notify(app, signed(payment({ total_fee: '1' }), secrets.apiV2Key))
  await notify(app, paid, { url: '/wechat/pay/v2/1900000999/notify' })
  await app.redis.config('SET', 'maxmemory', '1')
  await notify(app, signed(payment(), secrets.apiV2Key))
  t.same(await valuesOf(app, 'callbacks_total'), {
    'pay-v2 recorded ': 1,
    'pay-v2 duplicate ': 1,
    'pay-v2 refused signature': 1,
    'pay-v2 refused doctype': 1,
    'pay-v2 quarantined amount-mismatch': 1,
    'pay-v2 unknown-merchant ': 1,
    'pay-v2 failed ': 1
  })
})

t.test('pushes are counted too, the URL check among them', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app } = await build(t, { env: SAFE, redis })
  const good = safePush(JSON.stringify(textMessage()))
  const { signature = '', timestamp = '', nonce = '' } = plainPush('').query
  await app.inject({ url: `/wechat/push/${APPID}`, query: { signature, timestamp, nonce, echostr: 'hello' } })
  await sendPush(app, good)
  await sendPush(app, good)
  await sendPush(app, plainPush('{}'))
  await sendPush(app, { ...good, query: { ...good.query, msg_signature: '0'.repeat(40) } })
  await sendPush(app, good, 'wx0000000000000000')
  await app.redis.config('SET', 'maxmemory', '1')
  await sendPush(app, safePush(JSON.stringify(textMessage())))
  t.same(await valuesOf(app, 'callbacks_total'), {
    'push checked ': 1,
    'push recorded ': 1,
    'push duplicate ': 1,
    'push refused downgrade': 1,
    'push refused signature': 1,
    'push refused appid': 1,
    'push failed ': 1
  })
})

t.test('the queue is shown as it is, and each try to deliver with what came of it', async (t) => {
  const { app, another, backend, secrets } = await build(t, { env: { ROLES: 'api' } })
  t.same(await valuesOf(app, 'events'), { waiting: 0, delayed: 0, active: 0, failed: 0 })
  await notify(app, signed(payment(), secrets.apiV2Key))
  t.same(await valuesOf(app, 'events'), { waiting: 1, delayed: 0, active: 0, failed: 0 })
  backend.respond(500)
  const worker = await another({ ROLES: 'worker' })
  await until(async () => (await valuesOf(app, 'events')).delayed === 1)
  t.same(await valuesOf(worker, 'event_deliveries_total'), { refused: 1 })
  await notify(app, signed(payment(), secrets.apiV2Key))
  await until(async () => (await valuesOf(worker, 'event_deliveries_total')).delivered === 1)
  await backend.close()
  await notify(app, signed(payment(), secrets.apiV2Key))
  await until(async () => (await valuesOf(worker, 'event_deliveries_total')).unanswered === 1)
  t.same(await valuesOf(app, 'event_deliveries_total'), {}, 'each instance counts its own')
})

/** What only Redis knows. */
const asked = (samples: Awaited<ReturnType<typeof scrape>>) =>
  samples.filter(({ name }) => /^wxgate_(redis_ping|events)/.test(name)).length

t.test('with Redis hung or gone a scrape still answers what is known, and no stale depth', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app } = await build(t, { redis })
  t.same(await valuesOf(app, 'redis_up'), { '': 1 })
  t.equal(asked(await scrape(app)), 5)
  redis.pause()
  const hung = await scrape(app)
  redis.resume()
  t.equal(asked(hung), 0)
  t.match(
    hung.find(({ name }) => name === 'wxgate_redis_up'),
    { value: 0 }
  )
  const closed = new Promise((resolve) => app.redis.once('close', resolve))
  redis.kill()
  await closed
  const away = await scrape(app)
  t.equal(asked(away), 0)
  t.match(
    away.find(({ name }) => name === 'wxgate_redis_up'),
    { value: 0 }
  )
  t.match(
    away.find(({ name, labels }) => name === 'wxgate_http_requests_total' && labels.route === '/metrics'),
    {
      value: 3
    }
  )
  await redis.restart()
  await until(async () => (await valuesOf(app, 'redis_up'))[''] === 1)
  t.equal(asked(await scrape(app)), 5)
})

/** Everything a caller can vary, `nth` time. */
async function vary({ app, sandbox, secrets }: World, nth: number): Promise<void> {
  const appid = `wx${String(nth).padStart(16, '0')}`
  const method = ['GET', 'PUT', 'PROPFIND', 'PURGE', 'SEARCH', 'MKCOL'][nth % 6] as 'GET'
  await app.inject({
    method,
    url: `/p${nth}/${'x'.repeat(nth)}?q=${nth}`,
    headers: { 'x-forwarded-for': `10.0.0.${nth}` }
  })
  await get(app, `/%${nth}z`)
  sandbox.fault({ api: 'code2session', errcode: 100_000 + nth })
  await login(app, sandbox.login({ appid: APPID }).code)
  await login(app, 'code', appid)
  sandbox.fault({ api: 'unifiedorder', errcode: `MADE_UP_${nth}` })
  await order(app, { outTradeNo: `VARIED_${nth}` })
  await notify(app, signed(payment({ appid }), secrets.apiV2Key))
  await notify(app, '<xml/>', { url: `/wechat/pay/v2/${nth}/notify` })
  await post(app, '/api/token/refresh', { refreshToken: `r${nth}.x` })
  await get(app, '/api/session', bearer(`t${nth}`))
}

const FORBIDDEN = /wx0{10}|MADE_UP|VARIED|1000\d\d|10\.0\.0|PROPFIND|PURGE|xxx/

t.test('no caller can add a series, nor put anything of theirs into a label', async (t) => {
  const world = await build(t, { env: { ROLES: 'api', RATE_LIMIT: '0' } })
  const seriesAfter = async (from: number, to: number) => {
    for (let nth = from; nth < to; nth += 1) await vary(world, nth)
    return (await scrape(world.app)).filter(({ name }) => name.startsWith('wxgate_')).length
  }
  await seriesAfter(0, 6)
  const first = await seriesAfter(6, 12)
  t.equal(await seriesAfter(12, 36), first)
  const { body } = await fetchMetrics(world.app)
  const texts = new Set((await scrape(world.app)).flatMap(({ labels }) => Object.values(labels)))
  t.same(
    [...texts].filter((text) => FORBIDDEN.test(text)),
    []
  )
  t.match(body, /upstream_calls_total\{api="unifiedorder",outcome="other"\} 36\n/)
  t.match(body, /http_requests_total\{method="other",route="\(none\)",status="404"\} 24\n/)
  t.match(body, new RegExp(`logins_total\\{appid="${APPID}",outcome="WECHAT_REJECTED"\\} 36\\n`))
  t.match(body, /logins_total\{appid="unknown",outcome="APP_UNKNOWN"\} 36\n/)
  t.notOk(body.includes(MCHID))
})

t.test('docs/operations.md has every meter with its type and labels, and no other', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')
  const told = [...page.matchAll(/^\| `(wxgate_\w+)` \| (\w+) \| (.*?) ?\|/gm)].map(([, name, type, labels = '']) => [
    name,
    type,
    labels.replaceAll('`', '')
  ])
  const { app } = await build(t)
  const known = app.meters.registry
    .getMetricsAsArray()
    .map((meter) => meter as unknown as { name: string; type: string; labelNames: string[] })
    .map(({ name, type, labelNames }) => [name, type, labelNames.join(', ')])
  t.same(told.sort(), known.sort())
})

t.test('each gateway of a process counts for itself', async (t) => {
  const { app, another } = await build(t)
  const other = await another()
  await get(other, '/api/test')
  t.equal((await valuesOf(other, 'http_requests_total'))['GET /api/test 200'], 1)
  t.same(await valuesOf(app, 'http_requests_total'), {})
})
