/**
 * Three instances behind the shipped Caddyfile are restarted one after the other under a hundred requests a second: no
 * request fails. By hand, longer or behind nginx: `ROUNDS=10 FRONT=nginx node test/acceptance/rolling-restart.test.ts`.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { startRedis } from '../../tools/redis.ts'
import { APPID, MCHID } from '../helper.ts'
import { payment, SUCCESS, signed } from '../routes/wechat/notices.ts'
import type { FrontAnswer } from './caddy.ts'
import { FRONTS, type Front } from './fronts.ts'
import { type Instance, startInstance } from './instances.ts'
import { describe, startLoad } from './load.ts'
import { startNeighbours } from './neighbours.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 1)
const FRONT = FRONTS.find(({ name }) => name.includes(process.env.FRONT ?? 'Caddyfile')) as Front
const PER_SECOND = 100
const PATIENCE_MS = 30_000
const TIMEOUT_MS = 120_000 * ROUNDS

t.setTimeout(TIMEOUT_MS)
const redis = await startRedis()
t.teardown(() => redis.stop())
const { sandbox, backend, apiV2Key, settings: common } = await startNeighbours(t)
const settings = { ...common, REDIS_URL: redis.url, RATE_LIMIT: '0' }

function expect(answer: FrontAnswer, holds: boolean): void {
  if (answer.statusCode !== 200 || !holds) throw new Error(`${answer.statusCode} ${answer.text.slice(0, 200)}`)
}

t.test('a rolling restart under load fails no request', async (t) => {
  const instances = await Promise.all([1, 2, 3].map(() => startInstance(t, settings)))
  const addresses = instances.map(({ origin }) => origin.slice('http://'.length))
  const door = await FRONT.start(t, { upstreams: addresses })
  const json = { 'content-type': 'application/json' }

  async function logIn(): Promise<string> {
    const { code, openid } = sandbox.login({ appid: APPID })
    const body = JSON.stringify({ code })
    const answer = await door.request('/api/login', { method: 'POST', headers: json, body })
    expect(answer, answer.text.includes(openid))
    return answer.json<{ token: string }>().token
  }

  const authorization = `Bearer ${await logIn()}`
  async function askSession(): Promise<void> {
    const answer = await door.request('/api/session', { headers: { authorization } })
    expect(answer, answer.json<{ appid: string }>().appid === APPID)
  }

  const acknowledged: string[] = []
  let notices = 0
  async function notify(): Promise<void> {
    const transactionId = `4200002611270000${String(++notices).padStart(8, '0')}`
    const body = signed(payment({ transaction_id: transactionId, out_trade_no: `ROLLING${notices}` }), apiV2Key)
    const headers = { 'content-type': 'text/xml' }
    const answer = await door.request(`/wechat/pay/v2/${MCHID}/notify`, { method: 'POST', headers, body })
    expect(answer, answer.text === SUCCESS)
    acknowledged.push(`pay_${MCHID}_${transactionId}`)
  }

  const load = startLoad({
    perSecond: PER_SECOND,
    calls: [
      ['GET /api/session', askSession],
      ['POST /api/login', logIn],
      ['POST /wechat/pay/v2/…/notify', notify],
      ['GET /api/session', askSession]
    ]
  })
  for (let round = 0; round < ROUNDS; round++) {
    for (const [n, address] of addresses.entries()) {
      t.equal(await (instances[n] as Instance).stop('SIGTERM'), 0)
      instances[n] = await startInstance(t, { ...settings, PORT: address.split(':')[1] })
    }
  }
  const report = await load.stop()
  t.comment(`${FRONT.name}, rolling restart of three, ${ROUNDS} times: ${describe(report)}`)
  t.same(report.failures, [])
  t.ok(report.requests > PER_SECOND * ROUNDS)

  const giveUpAt = performance.now() + PATIENCE_MS
  const told = () =>
    new Set(
      backend
        .events()
        .filter(({ accepted }) => accepted)
        .map(({ id }) => id)
    )
  while (told().size < acknowledged.length && performance.now() < giveUpAt) await pause(100)
  t.same([...told()].sort(), acknowledged.sort(), 'and all that was acknowledged is told')
})
