/** Jobs lie in Redis as BullMQ itself writes them, many of them in one call, and each has an answer of its own. */
import { randomBytes } from 'node:crypto'
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import {
  DELIVERED_LIFE_SECONDS,
  IDENTITY_LIFE_MS,
  MOST_DELIVERED_KEPT,
  QUEUE_NAME,
  TRIES
} from '../../../lib/events/model.ts'
import { JobWriter } from '../../../lib/events/recorder.ts'
import { connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { readsOf } from '../../redis-reads.ts'

const server = await startRedis({})
t.teardown(() => server.stop())

async function world(t: Test, url = server.url) {
  const redis = connectPrompt(url, () => undefined)
  t.teardown(() => redis.disconnect())
  await settled(redis, 5000)
  const prefix = `t${randomBytes(4).toString('hex')}:{events}`
  return { redis, prefix, writer: new JobWriter(redis, prefix), key: (name: string) => `${prefix}:webhook:${name}` }
}

const job = (id: string, { suffix = '1', lowPriority = false } = {}) => ({
  id: `${id}.${suffix}`,
  name: 'payment.succeeded',
  data: { id, body: '{"attach":"茶 \\"quoted\\""}' },
  lowPriority
})

/** All that lies below `prefix`, by what follows it. BullMQ's notes of progress and its counter of ids are not read. */
async function heldBelow(redis: Redis, prefix: string): Promise<Record<string, unknown>> {
  const held: Record<string, unknown> = {}
  for (const key of (await redis.keys(`${prefix}*`)).sort()) {
    const name = key.slice(prefix.length)
    if (name === ':webhook:events' || name === ':webhook:id') continue
    const type = await redis.type(key)
    if (type === 'string') held[name] = [await redis.get(key), (await redis.pttl(key)) > 0]
    else if (type === 'hash') held[name] = withoutTimes(await redis.hgetall(key))
    else if (type === 'list') held[name] = await redis.lrange(key, 0, -1)
    else held[name] = await redis.zrange(key, '0', '-1', 'WITHSCORES')
  }
  return held
}

function withoutTimes({ opts, timestamp, ...fields }: Record<string, string>): object {
  if (opts === undefined) return fields
  const options = JSON.parse(opts)
  return { ...fields, hasTime: options.timestamp === Number(timestamp), opts: { ...options, timestamp: 0 } }
}

t.test('a job is field for field what BullMQ writes, of either priority, and where it pauses', async (t) => {
  for (const state of ['open', 'paused'] as const) {
    const theirs = await world(t)
    const queue = new Queue(QUEUE_NAME, {
      connection: theirs.redis,
      prefix: theirs.prefix,
      streams: { events: { maxLen: 100 } }
    })
    t.teardown(() => queue.close())
    const ours = await world(t)
    await copyMeta(queue, theirs.redis, ours)
    if (state === 'paused') for (const { redis, key } of [theirs, ours]) await redis.hset(key('meta'), 'paused', '1')
    for (const [id, lowPriority] of [
      ['pay_1', false],
      ['msg_1', true],
      ['pay_2', false],
      ['msg_2', true]
    ] as const) {
      const { id: jobId, name, data } = job(id)
      await queue.add(name, data, {
        attempts: TRIES,
        backoff: { type: 'custom' },
        removeOnComplete: { age: DELIVERED_LIFE_SECONDS, count: MOST_DELIVERED_KEPT },
        removeOnFail: false,
        stackTraceLimit: 0,
        timestamp: Date.now(),
        jobId,
        deduplication: { id, ttl: IDENTITY_LIFE_MS },
        priority: lowPriority ? 2 : 0
      })
      t.equal(await ours.writer.add(job(id, { lowPriority })), jobId)
    }
    const { ':waiting': index, ...held } = await heldBelow(ours.redis, ours.prefix)
    t.same(held, await heldBelow(theirs.redis, theirs.prefix), state)
    t.equal(':webhook:marker' in held, state === 'open', 'a worker is woken')
    t.match(index, ['pay_1.1', /^\d+$/])
  }
})

/** What BullMQ notes of a queue when it is opened. */
async function copyMeta(queue: Queue, theirs: Redis, { redis, key }: Awaited<ReturnType<typeof world>>): Promise<void> {
  await queue.waitUntilReady()
  let meta: Record<string, string> = {}
  while (!('version' in meta)) meta = await theirs.hgetall(queue.toKey('meta'))
  await redis.hset(key('meta'), meta)
}

t.test('jobs of one turn go in one call, each with its own answer', async (t) => {
  const { redis, writer, key } = await world(t)
  await redis.hset(key('meta'), 'opts.maxLenEvents', '10000')
  await writer.add(job('pay_0', { suffix: 'before' }))
  t.equal(await redis.hget(key('meta'), 'opts.maxLenEvents'), '100', 'so many notes of progress a worker may leave')
  await redis.lpush(key('de:pay_odd'), 'something else')
  const before = await readsOf(redis)
  const answers = await Promise.allSettled([
    writer.add(job('pay_0')),
    writer.add(job('pay_1')),
    writer.add(job('pay_odd')),
    writer.add(job('pay_1', { suffix: 'again' })),
    writer.add(job('msg_1', { lowPriority: true }))
  ])
  t.equal((await readsOf(redis)) - before, 2, 'one, and the question itself')
  t.match(answers, [
    { value: 'pay_0.before' },
    { value: 'pay_1.1' },
    { status: 'rejected', reason: /identity/ },
    { value: 'pay_1.1' },
    { value: 'msg_1.1' }
  ])
  t.same(await redis.lrange(key('wait'), 0, -1), ['pay_1.1', 'pay_0.before'])
})

t.test('more than one call takes loses none', async (t) => {
  const { redis, writer, key } = await world(t)
  const ids = Array.from({ length: 1000 }, (_none, index) => `pay_${index}`)
  const held = await Promise.all(ids.map((id) => writer.add(job(id))))
  t.same(
    held,
    ids.map((id) => `${id}.1`)
  )
  t.same((await redis.lrange(key('wait'), 0, -1)).reverse(), held)
})

t.test('large ones go in several calls', async (t) => {
  const { redis, writer, key } = await world(t)
  const large = (id: string) => ({ ...job(id), data: { id, body: 'x'.repeat(200_000) } })
  const ids = ['pay_1', 'pay_2', 'pay_3']
  await writer.add(job('pay_0'))
  const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
  const before = await calls()
  await Promise.all(ids.map((id) => writer.add(large(id))))
  t.equal((await calls()) - before, 3)
  t.equal(await redis.llen(key('wait')), 4)
})

t.test('a Redis that takes no writes does not even say "seen before"', async (t) => {
  const server = await startRedis({})
  t.teardown(() => server.stop())
  const { redis, writer } = await world(t, server.url)
  await writer.add(job('pay_1'))
  await redis.call('REPLICAOF', '127.0.0.1', '1')
  await t.rejects(writer.add(job('pay_1', { suffix: 'again' })), /^READONLY/)
  await redis.call('REPLICAOF', 'NO', 'ONE')
  await redis.config('SET', 'min-replicas-to-write', '1')
  await t.rejects(writer.add(job('pay_1', { suffix: 'again' })), /^NOREPLICAS/)
  await redis.config('SET', 'min-replicas-to-write', '0')
  t.equal(await writer.add(job('pay_1', { suffix: 'again' })), 'pay_1.1')
})

t.test('an identity without end, whose job is gone, holds nothing', async (t) => {
  const { redis, writer, key } = await world(t)
  await writer.add(job('pay_1'))
  await redis.del(key('pay_1.1'))
  t.equal(await writer.add(job('pay_1', { suffix: 'again' })), 'pay_1.1', 'a delivered job is removed, and counts')
  await redis.persist(key('de:pay_1'))
  t.equal(await writer.add(job('pay_1', { suffix: 'again' })), 'pay_1.again')
  await redis.persist(key('de:pay_1'))
  t.equal(await writer.add(job('pay_1', { suffix: 'third' })), 'pay_1.again')
})

t.test('what fails half-way is written when it comes again', async (t) => {
  const { redis, writer, key } = await world(t)
  await redis.set(key('wait'), 'no list')
  const failed = await Promise.allSettled([writer.add(job('pay_1')), writer.add(job('pay_2'))])
  t.match(failed, [{ reason: /WRONGTYPE/ }, { reason: /WRONGTYPE/ }])
  await redis.del(key('wait'))
  t.equal(await writer.add(job('pay_1', { suffix: 'again' })), 'pay_1.again')
  t.same(await redis.lrange(key('wait'), 0, -1), ['pay_1.again'])
})

t.test('what was pushed before a failure wakes a worker', async (t) => {
  const { redis, writer, key } = await world(t)
  await redis.lpush(key('pc'), 'no counter')
  const failed = await Promise.allSettled([writer.add(job('pay_1')), writer.add(job('msg_1', { lowPriority: true }))])
  t.match(failed, [{ reason: /WRONGTYPE/ }, { reason: /WRONGTYPE/ }])
  t.same(await redis.lrange(key('wait'), 0, -1), ['pay_1.1'])
  t.equal(await redis.exists(key('marker')), 1)
})
