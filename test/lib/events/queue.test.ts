/** Recording: once for each id, in one round trip, and only when Redis confirms it; and which instances deliver. */
import t from 'tap'
import { pauseMs, QUEUE_NAME, type QueuedEvent, TRIES } from '../../../lib/events/model.ts'
import { EventRecorder } from '../../../lib/events/recorder.ts'
import { connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { LazyQueue } from '../../../lib/redis/queue.ts'
import { isRedisAway } from '../../../lib/redis/trouble.ts'
import { startRedis } from '../../../tools/redis.ts'
import { build, type World } from '../../helper.ts'
import { readsOf } from '../../redis-reads.ts'
import { notify, payment, SUCCESS, signed } from '../../routes/wechat/notices.ts'
import { event, eventWorld } from './world.ts'

const SECOND = 1000
const HOUR = 3600 * SECOND

t.test('pauseMs() gives the pauses of the contract, a tenth longer at most, in whole milliseconds', async (t) => {
  const pauses = [5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 21_600].map((seconds) => seconds * SECOND)
  for (const [index, pause] of pauses.entries()) {
    t.equal(pauseMs(index + 1, 0), pause)
    t.ok(pauseMs(index + 1, 0.999999) <= pause * 1.1)
    t.ok(Number.isInteger(pauseMs(index + 1, 0.123456789)))
  }
  for (const tries of [1000, 2 ** 31, Number.MAX_SAFE_INTEGER]) t.equal(pauseMs(tries, 0), 6 * HOUR)
  t.equal(pauseMs(0, 0), 5 * SECOND)
  const all = Array.from({ length: TRIES - 1 }, (_, index) => pauseMs(index + 1, 0)).reduce((sum, pause) => sum + pause)
  t.ok(all > 72 * HOUR && all < 80 * HOUR, 'about three days in all')
})

t.test('record() stores an identity once, and tells the same again from something else', async (t) => {
  const { recorder, counts } = await eventWorld(t)
  t.equal(await recorder.record(event('pay_1_1')), 'recorded')
  t.equal(await recorder.record(event('pay_1_1')), 'duplicate')
  t.equal(await recorder.record(event('pay_1_1', { data: { other: 'words' } })), 'duplicate')
  t.equal(await recorder.record(event('pay_1_1', { content: '999 CNY' })), 'conflict')
  t.equal(await recorder.record(event('pay_1_2', { content: '999 CNY' })), 'recorded')
  t.match(await counts(), { waiting: 2 })
  const many = await Promise.all(Array.from({ length: 100 }, () => recorder.record(event('pay_1_3'))))
  t.equal(many.filter((each) => each === 'recorded').length, 1)
  t.equal(many.filter((each) => each === 'duplicate').length, 99)
})

t.test('record() is one round trip, and 3 KB of Redis for an event that waits', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { recorder, redis: connection } = await eventWorld(t, redis)
  await recorder.record(event('pay_1_0'))
  const before = await readsOf(connection)
  for (const id of ['pay_1_1', 'pay_1_1', 'pay_1_2']) await recorder.record(event(id))
  t.equal((await readsOf(connection)) - before, 4, 'three, and the question itself')

  const used = async () => Number(/used_memory:(\d+)/.exec(await connection.info('memory'))?.[1])
  const raw = { field: 'x'.repeat(800) }
  const usedBefore = await used()
  for (let index = 0; index < 1000; index++)
    await recorder.record(event(`pay_1900000109_42000024${1e12 + index}`, { data: { raw } }))
  const each = ((await used()) - usedBefore) / 1000
  t.ok(each < 3072, `${each} bytes`)
})

t.test('record() fails while Redis is away, at its start too, and works as soon as it is back', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  redis.kill()
  const connection = connectPrompt(redis.url, () => undefined)
  const [prefix, durability] = ['away:{events}', undefined]
  const queue = new LazyQueue<QueuedEvent>(connection, prefix, QUEUE_NAME)
  const recorder = new EventRecorder({ redis: connection, prefix, queue, durability })
  t.teardown(async () => {
    await queue.close()
    connection.disconnect()
  })
  await t.rejects(recorder.record(event('pay_1_1')))
  await redis.restart()
  await settled(connection, 5000)
  const listeners = connection.listenerCount('error')
  redis.pause()
  for (let time = 0; time < 3; time++) t.equal(await recorder.record(event('pay_1_1')).catch(isRedisAway), true)
  redis.resume()
  await settled(connection, 5000)
  t.equal(connection.listenerCount('error'), listeners, 'what failed to open leaves nothing behind')
  t.equal(await recorder.record(event('pay_1_1')), 'recorded')
  t.equal(await recorder.record(event('pay_1_1')), 'duplicate')
})

/** Posts a payment notice to `app`. Returns the webhook-id that it has to get. */
async function pay({ app, secrets }: Pick<World, 'app' | 'secrets'>): Promise<string> {
  const fields = payment()
  const { body } = await notify(app, signed(fields, secrets.apiV2Key))
  if (body !== SUCCESS) throw new Error(`refused: ${body}`)
  return `pay_${fields.mch_id}_${fields.transaction_id}`
}

t.test('events wait without WEBHOOK_URL, and an instance that has one delivers them', async (t) => {
  const world = await build(t, { env: { WEBHOOK_URL: undefined } })
  const { backend, another } = world
  const ids = [await pay(world), await pay(world)]
  const { webhookUrl: WEBHOOK_URL } = backend
  await another({ WEBHOOK_URL })
  await backend.waitFor(() => backend.events().filter(({ accepted }) => accepted).length === 2)
  t.same(
    backend
      .events()
      .map(({ id, attempts }) => [id, attempts])
      .sort(),
    ids.map((id) => [id, 1]).sort()
  )
})

t.test('ROLES=api delivers nothing, and ROLES=worker serves nothing but health', async (t) => {
  const nowhere = 'http://127.0.0.1:9/'
  const world = await build(t, { env: { ROLES: 'api', WEBHOOK_URL: nowhere } })
  const { backend, another, logs } = world
  const id = await pay(world)
  const worker = await another({ ROLES: 'worker', WEBHOOK_URL: backend.webhookUrl })
  t.match(await backend.waitFor(({ accepted }) => accepted), { id, attempts: 1 })
  t.notMatch(logs(), 'event not taken', 'nobody has tried to reach the other address')
  for (const url of ['/healthz', '/readyz']) t.equal((await worker.inject(url)).statusCode, 200, url)
  for (const url of ['/api/test', '/.well-known/jwks.json', '/docs'])
    t.equal((await worker.inject(url)).statusCode, 404, url)
  t.equal((await notify(worker, 'x')).statusCode, 404)
  t.equal((await worker.inject({ method: 'POST', url: '/internal/pay/orders', payload: {} })).statusCode, 404)
})

t.test('a Redis that refuses writes is told of once, not at every step of the worker', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const world = await build(t, { redis })
  const { app, backend, logs } = world
  await pay(world)
  await backend.waitFor(({ accepted }) => accepted)
  await app.redis.replicaof('127.0.0.1', '1')
  const rejected = async () =>
    Number(/errorstat_READONLY:count=(\d+)/.exec(await app.redis.info('errorstats'))?.[1] ?? 0)
  while ((await rejected()) < 15);
  const told = logs()
    .split('\n')
    .filter((line) => line.includes('delivery of events') && line.includes('READONLY'))
  t.equal(told.length, 1)
  await app.redis.replicaof('NO', 'ONE')
  const id = await pay(world)
  t.match(await backend.waitFor((event) => event.id === id && event.accepted, 20_000), { attempts: 1 })
})
