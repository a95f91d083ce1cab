/** Leases and work done once, by several callers on one real Redis. */
import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { type Lease, type LeaseKind, Leases, poll, type Turn } from '../../../lib/redis/lease.ts'
import { Once, type OnceOptions } from '../../../lib/redis/once.ts'
import { sharedRedis } from '../../helper.ts'

const KEPT_MS = 60_000
const DETAIL = 'another instance did not finish'

async function connect(t: Test): Promise<{ redis: Redis; key: string }> {
  const { url } = await sharedRedis()
  const redis = connectPrompt(url, () => undefined)
  t.teardown(() => redis.disconnect())
  await settled(redis, 1000)
  return { redis, key: `t${randomBytes(8).toString('hex')}` }
}

const leasesOf = (redis: Redis): Leases => new Leases({ redis, findTrouble: async () => undefined })

/** Those of another instance with each call. */
const leasesOn = (redis: Redis, kind: Partial<LeaseKind> = {}) => ({
  run: <T extends NonNullable<unknown>>(key: string, turn: Turn<T>): Promise<T> =>
    leasesOf(redis).run(key, { leaseMs: KEPT_MS, detail: DETAIL, ...kind }, turn)
})

const onceOn = (redis: Redis, options: Partial<OnceOptions> = {}): Once =>
  new Once({ leases: leasesOf(redis), leaseMs: KEPT_MS, keptMs: KEPT_MS, ...options })

const never = async () => undefined

t.test('run() lets one caller work, and the others wait for what it leaves', async (t) => {
  const { redis, key } = await connect(t)
  const resultKey = `${key}:result`
  let working = 0
  const turn = {
    async hold(lease: Lease) {
      working += 1
      t.equal(await redis.get(key), lease.owner, 'its name stands in Redis')
      t.ok((await redis.pttl(key)) > KEPT_MS - 5000, 'for as long as a lease lasts')
      t.equal(await lease.settle({ key: resultKey, value: 'done', lifeMs: KEPT_MS }), true)
      return 'done'
    },
    wait: async () => (await redis.get(resultKey)) ?? undefined
  }
  const asked = await Promise.all([1, 2, 3].map(() => leasesOn(redis).run(key, turn)))
  t.same(asked, ['done', 'done', 'done'])
  t.ok(working >= 1)
  t.equal(await redis.get(key), null, 'the lease is given back')
  t.equal(await redis.get(resultKey), 'done')
})

t.test('run() never lets two work at the same time, and gives the lease back when the work fails', async (t) => {
  const { redis, key } = await connect(t)
  let working = 0
  let most = 0
  const hold = async (lease: Lease) => {
    working += 1
    most = Math.max(most, working)
    await redis.ping()
    working -= 1
    lease.release()
    return true
  }
  await Promise.all([1, 2, 3, 4].map(() => leasesOn(redis).run(key, { hold, wait: never })))
  t.equal(most, 1)
  const failure = new Error('the work failed')
  await t.rejects(leasesOn(redis).run(key, { hold: () => Promise.reject(failure), wait: never }), failure)
  await redis.ping()
  t.equal(await redis.get(key), null)
  t.equal(await leasesOn(redis).run(key, { hold, wait: never }), true, 'the next caller works at once')
})

t.test('run() gives up after two leases, and follows a holder that died', async (t) => {
  const { redis, key } = await connect(t)
  await redis.set(key, 'somebody else')
  const started = performance.now()
  const waiting = leasesOn(redis, { leaseMs: 100 }).run(key, { hold: async () => true, wait: never })
  await t.rejects(waiting, { code: 'WECHAT_TIMEOUT', detail: DETAIL })
  t.ok(performance.now() - started >= 200)
  t.equal(await redis.get(key), 'somebody else')
  await redis.pexpire(key, 60)
  t.equal(await leasesOn(redis, { leaseMs: 5000 }).run(key, { hold: async () => 'ours', wait: never }), 'ours')
})

t.test('a lease that has ended writes nothing, takes nothing over and releases nothing', async (t) => {
  const { redis, key } = await connect(t)
  let late: Lease | undefined
  await leasesOn(redis).run(key, {
    async hold(lease) {
      late = lease
      return true
    },
    wait: never
  })
  await redis.set(key, 'the next one')
  t.equal(await late?.settle({ value: 'late', lifeMs: KEPT_MS }), false)
  t.equal(await late?.settle({ key: `${key}:result`, value: 'late', lifeMs: KEPT_MS }), false)
  t.equal(await late?.takeOver('the one before'), false)
  late?.release()
  await redis.ping()
  t.equal(await redis.get(key), 'the next one')
  t.equal(await redis.exists(`${key}:result`), 0)
  t.equal(await late?.takeOver('the next one'), true)
  t.equal(await redis.get(key), late?.owner)
})

t.test('run() removes what is of another type', async (t) => {
  const { redis, key } = await connect(t)
  await redis.lpush(key, 'damaged')
  t.equal(await leasesOn(redis).run(key, { hold: async () => 'ours', wait: never }), 'ours')
})

t.test('poll() looks until it finds something, or its time is over', async (t) => {
  let looks = 0
  const third = async () => {
    looks += 1
    return looks === 3 ? 'found' : undefined
  }
  t.equal(await poll(performance.now() + KEPT_MS, third), 'found')
  t.equal(looks, 3)
  t.equal(await poll(performance.now() - 1, third), undefined)
  t.equal(looks, 3, 'too late to look at all')
})

t.test('Once does one piece of work for all instances, and keeps its result for a while', async (t) => {
  const { redis, key } = await connect(t)
  let count = 0
  const task = {
    key,
    work: async () => `result ${++count}`,
    write: (result: string) => result,
    read: async (text: string): Promise<string | undefined> => text
  }
  const [one, other] = [onceOn(redis), onceOn(redis)]
  const asked = await Promise.all([one.run(task), one.run(task), other.run(task)])
  t.same(asked, ['result 1', 'result 1', 'result 1'])
  t.equal(await other.run(task), 'result 1', 'soon after')
  t.ok((await redis.pttl(key)) > KEPT_MS - 5000)
  const refused = { ...task, read: never }
  t.equal(await one.run(refused), 'result 2', 'a result that does not hold any more is replaced')
  await redis.ping()
  t.equal(await redis.get(key), 'result 2')
  const failing = { ...refused, work: () => Promise.reject(new Error('the work failed')) }
  await t.rejects(one.run(failing), { message: 'the work failed' })
  await redis.ping()
  t.equal(await redis.get(key), null, 'failures are not kept')
})

t.test('Once waits for another instance no longer than two leases', async (t) => {
  const { redis, key } = await connect(t)
  await redis.set(key, 'claim:of one that died')
  const task = { key, work: async () => 'ours', write: String, read: async (text: string) => text }
  await t.rejects(onceOn(redis, { leaseMs: 60 }).run(task), { code: 'WECHAT_TIMEOUT' })
  await redis.pexpire(key, 60)
  t.equal(await onceOn(redis, { leaseMs: 5000 }).run(task), 'ours')
})
