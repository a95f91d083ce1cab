/** What a process refuses while it cannot keep up, in the form of each endpoint, and that this ends. */
import fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import wxgate, { serverOptions } from '../app.ts'
import { readSettings } from '../lib/settings.ts'
import type { OverloadLimits } from '../plugins/overload.ts'
import { API_KEY, build } from './helper.ts'
import { bearer, get, post, refused, until } from './routes/api/client.ts'
import { fetchMetrics, valuesOf } from './routes/metrics.ts'
import { answers, notify } from './routes/wechat/notices.ts'

/** A gateway whose process is looked at ten times a second; each look is the mean of about ten measurements. */
async function buildLimited(t: Test, limits: Partial<OverloadLimits>): Promise<FastifyInstance> {
  const { env } = await build(t)
  const settings = readSettings(env)
  const app = fastify({ ...serverOptions(settings), logger: false })
  t.teardown(() => app.close())
  await app.register(wxgate, { settings, overload: { sampleIntervalMs: 100, ...limits } })
  await app.ready()
  return app
}

const isRefused = async (app: FastifyInstance) => (await get(app, '/api/test')).statusCode === 503

t.test('with its heap full it refuses users, backends and WeChat, and still tells how it is', async (t) => {
  const app = await buildLimited(t, { maxHeapUsedBytes: 1 })
  await until(() => isRefused(app))
  const before = (await valuesOf(app, 'refusals_total')).OVERLOADED ?? Number.NaN
  refused(t, await get(app, '/api/test'), 503, 'OVERLOADED')
  refused(t, await post(app, '/api/login', { code: 'c' }), 503, 'OVERLOADED')
  refused(t, await post(app, '/internal/pay/orders', {}, bearer(API_KEY)), 503, 'OVERLOADED')
  const notice = await notify(app, '<xml/>')
  answers(t, notice, 503)
  t.match(notice.headers, { 'retry-after': '1', 'x-request-id': /./ })
  for (const url of ['/healthz', '/readyz', '/.well-known/jwks.json'])
    t.equal((await get(app, url)).statusCode, 200, url)
  t.equal((await fetchMetrics(app)).statusCode, 200)
  refused(t, await get(app, '/nothing'), 404, 'NOT_FOUND')
  t.equal((await valuesOf(app, 'refusals_total')).OVERLOADED, before + 4)
})

t.test('with more resident than it may have it refuses', async (t) => {
  const app = await buildLimited(t, { maxRssBytes: 1 })
  await until(() => isRefused(app))
  refused(t, await get(app, '/api/test'), 503, 'OVERLOADED')
  t.equal((await get(app, '/readyz')).statusCode, 200)
})

t.test('with its event loop late it refuses, and serves again when the loop keeps up', async (t) => {
  const app = await buildLimited(t, { maxEventLoopDelayMs: 20 })
  await until(async () => {
    const busyUntil = performance.now() + 500
    while (performance.now() < busyUntil);
    return isRefused(app)
  })
  await until(async () => !(await isRefused(app)))
  t.match((await get(app, '/api/test')).json(), { ok: 1 })
  t.ok(((await valuesOf(app, 'refusals_total')).OVERLOADED ?? 0) >= 1)
})

t.test('with the limits as they are nobody is refused', async (t) => {
  const app = await buildLimited(t, {})
  await until(async () => app.memoryUsage().heapUsed > 0)
  t.notOk(await isRefused(app))
})
