/** Workers do every job, several at a time and no more, come back after trouble with Redis, and end in time. */
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Job } from 'bullmq'
import t, { type Test } from 'tap'
import { connectPatient, connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { LazyQueue } from '../../../lib/redis/queue.ts'
import { PollingWorker, QueueWorker, type QueueWorkerOptions } from '../../../lib/redis/worker.ts'
import { type PrivateRedis, startRedis } from '../../../tools/redis.ts'
import { sharedRedis } from '../../helper.ts'

const NAME = 'work'

interface QueueWorld {
  add(id: string): Promise<unknown>
  start(options: Partial<QueueWorkerOptions<string, string>>): QueueWorker<string, string>
  errors: string[]
}

async function queueWorld(t: Test, own?: PrivateRedis): Promise<QueueWorld> {
  const { url } = own ?? (await sharedRedis())
  const prefix = `t${randomBytes(4).toString('hex')}:{worker}`
  const redis = connectPrompt(url, () => undefined)
  await settled(redis, 1000)
  const queue = new LazyQueue<string>(redis, prefix, NAME)
  t.teardown(async () => {
    await queue.close()
    redis.disconnect()
  })
  const errors: string[] = []
  return {
    errors,
    add: async (id) => (await queue.open()).add(NAME, id, { attempts: 3, backoff: { type: 'custom' } }),
    start(options) {
      const patient = connectPatient(url, () => undefined)
      const worker = new QueueWorker<string, string>({
        redis: patient,
        prefix,
        name: NAME,
        concurrency: 2,
        work: async ({ data }) => data,
        pauseMs: () => 10,
        lockMs: 1000,
        lookMs: 500,
        closeMs: 200,
        onError: ({ message }) => errors.push(message),
        ...options
      })
      t.teardown(async () => {
        await worker.close()
        patient.disconnect()
      })
      return worker
    }
  }
}

/** Resolves when it was called `count` times. */
function latch(count: number): { done: Promise<void>; call: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = count
  const call = () => {
    left -= 1
    if (left === 0) resolve()
  }
  return { done: promise, call }
}

/** Work that counts how many jobs are under way at a time. */
function counted(work: () => Promise<unknown>) {
  const seen = { now: 0, most: 0 }
  return {
    seen,
    async run(): Promise<void> {
      seen.now += 1
      seen.most = Math.max(seen.most, seen.now)
      await work()
      seen.now -= 1
    }
  }
}

t.test('QueueWorker does every job, so many at a time', async (t) => {
  const { add, start } = await queueWorld(t)
  const tried = latch(6)
  const { seen, run } = counted(() => pause(20))
  const done: string[] = []
  start({
    work: async ({ data }) => {
      await run()
      done.push(data)
      return data
    },
    onTried: tried.call
  })
  const ids = ['1', '2', '3', '4', '5', '6']
  for (const id of ids) await add(id)
  await tried.done
  t.same(done.sort(), ids)
  t.equal(seen.most, 2)
})

t.test('QueueWorker tries a job again after its pause', async (t) => {
  const { add, start, errors } = await queueWorld(t)
  const tried = latch(3)
  const pauses: number[] = []
  const tries: number[] = []
  start({
    work: async ({ attemptsMade }: Job<string, string>) => {
      tries.push(attemptsMade)
      if (attemptsMade < 2) throw new Error('not yet')
      return 'done'
    },
    pauseMs: (triesMade) => {
      pauses.push(triesMade)
      return 10
    },
    onTried: tried.call
  })
  await add('1')
  await tried.done
  t.same(tries, [0, 1, 2])
  t.same(pauses, [1, 2])
  t.same(errors, [], 'a job that is tried again is no trouble')
})

t.test('close() lets jobs end, and breaks off what takes too long', async (t) => {
  const { add, start } = await queueWorld(t)
  const begun = latch(1)
  const hanging = Promise.withResolvers<string>()
  let broken = 0
  const worker = start({
    work: () => {
      begun.call()
      return hanging.promise
    },
    breakOff: async () => {
      broken += 1
      hanging.resolve('broken off')
    }
  })
  await add('1')
  await begun.done
  const startedAt = performance.now()
  await worker.close()
  t.equal(broken, 1)
  const took = performance.now() - startedAt
  t.ok(took >= 190 && took < 1700, `${took} ms`)
})

t.test('QueueWorker goes on once Redis is back, and close() does not wait for one that is away', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { add, start } = await queueWorld(t, redis)
  const [first, second] = [latch(1), latch(1)]
  const worker = start({
    work: async ({ data }) => {
      if (data === '1') first.call()
      else second.call()
      return data
    }
  })
  await add('1')
  await first.done
  redis.kill()
  await redis.restart()
  while (!(await add('2').catch(() => false))) await pause(10)
  await second.done
  redis.kill()
  const startedAt = performance.now()
  await worker.close()
  const took = performance.now() - startedAt
  t.ok(took < 2500, `${took} ms`)
  await redis.restart()
})

t.test('PollingWorker does what is due, so many at a time, also after trouble', async (t) => {
  const errors: string[] = []
  const wanted = ['1', '2', 'broken', '3', '4', '5']
  const asked: number[] = []
  const done = latch(wanted.length)
  const { seen, run } = counted(() => pause(20))
  let fails = 1
  const worker = new PollingWorker<string>({
    concurrency: 2,
    take: async (most) => {
      asked.push(most)
      if (fails-- > 0) throw new Error('Connection is closed.')
      return { jobs: wanted.splice(0, most), sleepMs: 5 }
    },
    work: async (job) => {
      await run()
      done.call()
      if (job === 'broken') throw new Error('not to be done')
    },
    onError: ({ message }) => errors.push(message)
  })
  await done.done
  await worker.close()
  t.equal(seen.most, 2)
  t.ok(asked.every((most) => most >= 1 && most <= 2))
  t.same(errors, ['Connection is closed.', 'not to be done'])
})

t.test('PollingWorker takes nothing after close(), and close() waits for what is under way', async (t) => {
  const begun = latch(1)
  let taken = 0
  let ended = false
  const worker = new PollingWorker<number>({
    concurrency: 1,
    take: async () => ({ jobs: [++taken], sleepMs: 5 }),
    work: async () => {
      begun.call()
      await pause(50)
      ended = true
    },
    onError: (error) => t.fail(error.message)
  })
  await begun.done
  await worker.close()
  t.ok(ended)
  t.equal(taken, 1)
})

t.test('a queue worker rests where Redis refuses it, and goes on when it does not', async (t) => {
  const own = await startRedis()
  t.teardown(() => own.stop())
  const admin = connectPrompt(own.url, () => undefined)
  t.teardown(() => admin.disconnect())
  await settled(admin, 1000)
  const world = await queueWorld(t, own)
  await admin.call('ACL', 'SETUSER', 'default', '-eval', '-evalsha')
  const { done, call } = latch(1)
  world.start({
    async work() {
      call()
      return 'done'
    }
  })
  while (world.errors.length === 0) await pause(10)
  await pause(500)
  t.ok(world.errors.length < 20, `${world.errors.length} tries in half a second`)
  await admin.call('ACL', 'SETUSER', 'default', '+eval', '+evalsha')
  await world.add('a')
  await done
})
