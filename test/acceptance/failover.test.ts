/**
 * A failover of Redis under load, behind the shipped Caddyfile: the old primary becomes a replica and closes nothing,
 * then the address leads to the new one. It prints when the last request failed after that, and whether anything
 * acknowledged was lost. By hand, several times: `ROUNDS=5 node test/acceptance/failover.test.ts`.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { type PrivateRedis, startRedis } from '../../tools/redis.ts'
import { APPID, MCHID } from '../helper.ts'
import { startRedisWay } from '../redis-way.ts'
import { payment, SUCCESS, signed } from '../routes/wechat/notices.ts'
import { withCaddy } from './caddy.ts'
import { startInstance } from './instances.ts'
import { startNeighbours } from './neighbours.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 1)
const BETWEEN_CALLS_MS = 20
/** No request may fail later than this after the address leads to the new primary. */
const LAST_FAILURE_MS = 5000
/** Of load before, and of load without a failure after which it counts as over. */
const BEFORE_MS = 1000
const QUIET_MS = 6000
const TOLD_MS = 60_000

t.setTimeout(180_000 * ROUNDS)
const servers = await Promise.all([startRedis({ tcp: true }), startRedis({ tcp: true })])
t.teardown(() => Promise.all(servers.map((server) => server.stop())))
const { sandbox, backend, apiV2Key, settings } = await startNeighbours(t)

const portOf = ({ url }: PrivateRedis): string => new URL(url).port

async function replicate(replica: Redis, primary: PrivateRedis): Promise<void> {
  await replica.replicaof('127.0.0.1', portOf(primary))
  while (!/master_link_status:up/.test(await replica.info('replication'))) await pause(50)
}

t.test('a failover under load: few fail, for a short time, and nothing acknowledged is lost', async (t) => {
  const way = await startRedisWay(t, servers[0])
  const admins = servers.map(({ url }) => new Redis(url)) as [Redis, Redis]
  t.teardown(() => admins.forEach((admin) => void admin.disconnect()))
  await replicate(admins[1], servers[0])
  const all = { ...settings, REDIS_URL: way.url, RATE_LIMIT: '0' }
  const instances = await Promise.all([startInstance(t, all), startInstance(t, all)])
  const door = await withCaddy(t, { upstreams: instances.map(({ origin }) => origin.slice('http://'.length)) })
  const json = { 'content-type': 'application/json' }
  const { code } = sandbox.login({ appid: APPID })
  const answer = await door.request('/api/login', { method: 'POST', headers: json, body: JSON.stringify({ code }) })
  const authorization = `Bearer ${answer.json<{ token: string }>().token}`

  const failures: number[] = []
  const acknowledged = new Set<string>()
  let [requests, statuses] = [0, new Map<number, number>()]

  async function call(): Promise<boolean> {
    requests += 1
    if (requests % 2 === 0) return answered(await door.request('/api/session', { headers: { authorization } }))
    const transactionId = `42000026112700${String(requests).padStart(14, '0')}`
    const body = signed(payment({ transaction_id: transactionId, out_trade_no: `FAILOVER${requests}` }), apiV2Key)
    const headers = { 'content-type': 'text/xml' }
    const notified = await door.request(`/wechat/pay/v2/${MCHID}/notify`, { method: 'POST', headers, body })
    if (notified.text === SUCCESS) acknowledged.add(`pay_${MCHID}_${transactionId}`)
    return answered(notified)
  }
  function answered({ statusCode }: { statusCode: number }): boolean {
    statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
    return statusCode === 200
  }

  const underWay = new Set<Promise<void>>()
  const stop = new AbortController()
  async function load(): Promise<void> {
    while (!stop.signal.aborted) {
      const sent = call().then(
        (isGood) => void (isGood || failures.push(performance.now())),
        () => void failures.push(performance.now())
      )
      underWay.add(sent)
      void sent.finally(() => underWay.delete(sent))
      await pause(BETWEEN_CALLS_MS)
    }
    await Promise.all(underWay)
  }

  const running = load()
  for (let round = 0; round < ROUNDS; round += 1) {
    const [old, next] = round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)
    await pause(BEFORE_MS)
    failures.length = 0
    await admins[old].call('FAILOVER', 'TO', '127.0.0.1', portOf(servers[next]))
    while (!/role:master/.test(await admins[next].info('replication'))) await pause(10)
    way.leadTo(servers[next])
    const reachableAt = performance.now()
    while (performance.now() - (failures.at(-1) ?? reachableAt) < QUIET_MS && performance.now() - reachableAt < 60_000)
      await pause(100)
    const lastMs = Math.round((failures.at(-1) ?? reachableAt) - reachableAt)
    t.comment(`failover ${round + 1}: ${failures.length} requests failed, the last one after ${lastMs} ms`)
    t.ok(lastMs <= LAST_FAILURE_MS, `the last failure after ${lastMs} ms`)
    while (!/master_link_status:up/.test(await admins[old].info('replication'))) await pause(50)
  }
  stop.abort()
  await running
  t.notOk(statuses.has(500), `no 500 among ${JSON.stringify([...statuses])}`)

  const told = () => new Set(backend.events().flatMap(({ id, accepted }) => (accepted ? [id] : [])))
  const giveUpAt = performance.now() + TOLD_MS
  while (![...acknowledged].every((id) => told().has(id)) && performance.now() < giveUpAt) await pause(100)
  const lost = [...acknowledged].filter((id) => !told().has(id))
  t.comment(`${requests} requests, ${acknowledged.size} payments acknowledged, ${lost.length} of them lost`)
  t.same(lost, [])
})
