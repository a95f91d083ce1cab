/** A failover that leaves connections open: the old primary is a replica now, and new connections reach the new one. */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { type PrivateRedis, type RedisOptions, startRedis } from '../../../tools/redis.ts'
import { build, logIn, type World } from '../../helper.ts'
import { type RedisWay, startRedisWay } from '../../redis-way.ts'
import { get, until } from '../../routes/api/client.ts'
import { notify, payment, signed } from '../../routes/wechat/notices.ts'

/** In seconds, on a machine that has other things to do; on one that is idle it takes one. */
const SOON_MS = 5000

interface Pair {
  way: RedisWay
  /** One that serves, and its replica. */
  old: Redis
  next: Redis
  nextServer: PrivateRedis
}

async function startPair(t: Test, options: RedisOptions = {}): Promise<Pair> {
  const [oldServer, nextServer] = await Promise.all([startRedis({ ...options, tcp: true }), startRedis({ tcp: true })])
  const [old, next] = [oldServer, nextServer].map(({ url }) => new Redis(url)) as [Redis, Redis]
  t.teardown(async () => {
    old.disconnect()
    next.disconnect()
    await Promise.all([oldServer.stop(), nextServer.stop()])
  })
  await next.replicaof('127.0.0.1', new URL(oldServer.url).port)
  await until(async () => /master_link_status:up/.test(await next.info('replication')))
  return { way: await startRedisWay(t, oldServer), old, next, nextServer }
}

/** The new one is a primary and reachable; the old one is not gone, and closes nothing. */
async function failOver({ way, old, next, nextServer }: Pair): Promise<void> {
  await old.call('WAIT', 1, 1000)
  way.leadTo(nextServer)
  await next.call('REPLICAOF', 'NO', 'ONE')
  await old.replicaof('127.0.0.1', new URL(nextServer.url).port)
}

async function recorded({ app, secrets }: World): Promise<boolean> {
  return (await notify(app, signed(payment(), secrets.apiV2Key))).statusCode === 200
}

const delivered = ({ backend }: World) => backend.events().filter(({ accepted }) => accepted).length

t.test('all connections are replaced: those of requests, of workers that block, and of the disk', async (t) => {
  const pair = await startPair(t, { persist: true, args: ['--appendfsync', 'always'] })
  const world = await build(t, { env: { REDIS_URL: pair.way.url } })
  const { headers } = await logIn(world.app, world.sandbox)
  t.ok(await recorded(world))
  await until(async () => delivered(world) === 1)
  const made = pair.way.made()
  await failOver(pair)
  const at = performance.now()
  await until(() => recorded(world))
  const recordedMs = performance.now() - at
  t.ok(recordedMs < SOON_MS, `recorded after ${recordedMs} ms`)
  t.equal((await get(world.app, '/api/session', headers)).statusCode, 200)
  t.equal((await get(world.app, '/readyz')).statusCode, 200)
  await until(async () => delivered(world) >= 2)
  const deliveredMs = performance.now() - at
  t.ok(deliveredMs < 2 * SOON_MS, `delivered after ${deliveredMs} ms`)
  t.ok(pair.way.made() - made < 40, `${pair.way.made() - made} connections`)
  const clients = String(await pair.old.call('CLIENT', 'LIST', 'TYPE', 'normal'))
  t.equal(
    clients.split('\n').filter((line) => /lib-name=ioredis|name=/.test(line) && !/ cmd=client/.test(line)).length,
    0
  )
})

t.test('a Redis that stays read-only sees a try or two a second, and no more', async (t) => {
  const server = await startRedis({ tcp: true })
  t.teardown(() => server.stop())
  const admin = new Redis(server.url)
  t.teardown(() => admin.disconnect())
  const way = await startRedisWay(t, server)
  const world = await build(t, { env: { REDIS_URL: way.url } })
  await admin.replicaof('127.0.0.1', '1')
  await until(async () => (await get(world.app, '/readyz')).statusCode === 503)
  const [made, at] = [way.made(), performance.now()]
  while (performance.now() - at < 3000) await recorded(world)
  t.ok(way.made() - made <= 10, `${way.made() - made} connections in 3 s`)
  await admin.call('REPLICAOF', 'NO', 'ONE')
  await until(() => recorded(world))
})

t.test('a worker whose own connection alone was left behind is replaced too', async (t) => {
  const pair = await startPair(t)
  const world = await build(t, { env: { REDIS_URL: pair.way.url, ROLES: 'worker' } })
  await failOver(pair)
  world.app.redis.disconnect(true)
  await until(async () => (await get(world.app, '/readyz')).statusCode === 200)
  const recorder = await world.another({ ROLES: 'api' })
  t.ok(await recorded({ ...world, app: recorder }))
  const at = performance.now()
  await until(async () => delivered(world) === 1)
  t.ok(performance.now() - at < 2 * SOON_MS)
})

t.test('a worker that nobody asks for anything notices that its Redis went away in silence', async (t) => {
  const pair = await startPair(t)
  const world = await build(t, { env: { REDIS_URL: pair.way.url, ROLES: 'worker' } })
  await until(async () => (await get(world.app, '/readyz')).statusCode === 200)
  const recorder = await world.another({ ROLES: 'api' })
  t.ok(await recorded({ ...world, app: recorder }))
  await until(async () => delivered(world) === 1)
  pair.way.silence()
  pair.way.leadTo(pair.nextServer)
  await pair.next.call('REPLICAOF', 'NO', 'ONE')
  const at = performance.now()
  await until(() => recorded({ ...world, app: recorder }))
  await until(async () => delivered(world) === 2)
  t.ok(performance.now() - at < 3 * SOON_MS, `delivered after ${performance.now() - at} ms`)
})

t.test('a worker follows where the connection for requests was led, though its own is open and served', async (t) => {
  const pair = await startPair(t)
  const world = await build(t, { env: { REDIS_URL: pair.way.url } })
  pair.way.leadTo(pair.nextServer)
  await pair.next.call('REPLICAOF', 'NO', 'ONE')
  world.app.redis.disconnect(true)
  await until(() => recorded(world))
  const at = performance.now()
  await until(async () => delivered(world) === 1)
  t.ok(performance.now() - at < 2 * SOON_MS, `delivered after ${performance.now() - at} ms`)
})
