/** Several gateways as they run in production: processes of their own on one Redis, that come, go, and are killed. */
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connectPrompt, settled } from '../../lib/redis/connect.ts'
import type { PayResult } from '../../sandbox/index.ts'
import { startRedis } from '../../tools/redis.ts'
import { API_KEY, APPID, type Environment, MCHID } from '../helper.ts'
import { type Instance, startInstance } from './instances.ts'
import { startNeighbours } from './neighbours.ts'

/** The time that server.ts gives a shut-down before it forces the end. */
const GRACE_MS = 10_000

const redis = await startRedis({ persist: true, args: ['--appendfsync', 'always'] })
t.teardown(() => redis.stop())
const { sandbox, backend, settings: common } = await startNeighbours(t)
const settings = { ...common, LOG_LEVEL: 'warn', REDIS_URL: redis.url, INTERNAL_API_KEYS: API_KEY }

const start = (t: Test, change: Environment = {}): Promise<Instance> => startInstance(t, { ...settings, ...change })

/** An order made by one instance and paid. Its notices go to all URLs of `doors`, in turn and in parallel. */
async function pay(doors: Instance[], times = 1): Promise<PayResult> {
  const order = {
    openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
    outTradeNo: randomBytes(8).toString('hex'),
    description: 'tea',
    amount: 88
  }
  const { json } = await (doors[0] as Instance).call('/internal/pay/orders', order, API_KEY)
  const notifyUrls = doors.map(({ origin }) => `${origin}/wechat/pay/v2/${MCHID}/notify`)
  return sandbox.pay({ prepayId: json.prepayId ?? '', notifyUrls, times, concurrent: true })
}

const idOf = ({ transactionId }: PayResult) => `pay_${MCHID}_${transactionId}`

const tell = (paid: PayResult) => backend.waitFor(({ id, accepted }) => id === idOf(paid) && accepted, 30_000)

const doors = await Promise.all([start(t), start(t)])

t.test('any instance serves any request of a session, and none does after its logout at one of them', async (t) => {
  const [one, other] = doors
  const { code, openid } = sandbox.login({ appid: APPID })
  const { json: session } = await one.call('/api/login', { code })
  t.equal(session.openid, openid)
  const button = sandbox.phoneButton({ appid: APPID, openid, phoneNumber: '13000000000' })
  const phone = await other.call('/api/phone', { code: button.code }, session.token)
  t.match(phone, { status: 200, json: { purePhoneNumber: '13000000000' } })
  const { token } = session
  t.equal((await one.call('/api/logout', {}, token)).status, 204)
  t.match(await other.call('/api/session', undefined, token), { status: 401, json: { code: 'SESSION_REVOKED' } })
})

t.test(
  'fifty notices of one payment at two instances are one event, and all fifty are answered with success',
  async (t) => {
    const doors = await Promise.all([start(t), start(t)])
    const paid = await pay(doors, 50)
    t.equal(paid.notices.filter(({ status, body }) => status === 200 && body.includes('SUCCESS')).length, 50)
    t.match(await tell(paid), { type: 'payment.succeeded', attempts: 1, data: { orderKnown: true } })
    t.same(
      backend.events().map(({ id }) => id),
      [idOf(paid)]
    )
    t.same(await Promise.all(doors.map(({ stop }) => stop('SIGTERM'))), [0, 0])
    t.match(backend.events(), [{ attempts: 1 }], 'nobody delivers it again')
  }
)

t.test('what a killed instance had answered for, another delivers', async (t) => {
  const [first, onlyApi] = await Promise.all([start(t), start(t, { ROLES: 'api' })])
  backend.respond(500)
  const refusedOnce = await pay([first])
  await backend.waitFor(({ id }) => id === idOf(refusedOnce))
  const operator = connectPrompt(redis.url, () => undefined)
  t.teardown(() => operator.disconnect())
  await settled(operator, 1000)
  while ((await operator.zcard('wxgate:{events}:webhook:delayed')) === 0) await pause(10)
  await first.stop('SIGKILL')
  const neverTried = await pay([onlyApi])
  await onlyApi.stop('SIGKILL')
  redis.kill()
  await redis.restart()
  await start(t, { ROLES: 'worker' })
  t.match(await tell(neverTried), { attempts: 1 })
  t.match(await tell(refusedOnce), { attempts: 2 })
})

t.test('SIGTERM lets a request under way end, takes no new one, and exits with 0', async (t) => {
  const instance = await start(t)
  const { code } = sandbox.login({ appid: APPID })
  sandbox.fault({ api: 'code2session', delayMs: 3000 })
  sandbox.clearCalls()
  const login = instance.call('/api/login', { code })
  while (sandbox.calls().length === 0) await pause(10)
  const startedAt = performance.now()
  const stopped = instance.stop('SIGTERM')
  t.equal((await login).status, 200)
  t.equal(await stopped, 0)
  t.ok(performance.now() - startedAt < GRACE_MS - 1000)
  await t.rejects(instance.call('/api/test'), { code: 'ECONNREFUSED' })
})

t.test('SIGTERM ends an instance in time while Redis is silent, and while it is gone', async (t) => {
  const instances = await Promise.all([start(t), start(t)])
  for (const [index, trouble] of (['pause', 'kill'] as const).entries()) {
    redis[trouble]()
    const startedAt = performance.now()
    t.equal(await instances[index]?.stop('SIGTERM'), 0, trouble)
    t.ok(performance.now() - startedAt < GRACE_MS - 1000, `${trouble}: ${performance.now() - startedAt} ms`)
    redis.resume()
  }
  await redis.restart()
})
