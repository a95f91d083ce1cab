/** Which order or refund is queried when, and by which instance: the list that all instances share. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { Checked } from '../../../lib/pay/reconcile.ts'
import { type ReconcileReport, startReconciling } from '../../../lib/pay/reconcile-worker.ts'
import { endMsOf } from '../../../lib/pay/records.ts'
import { RedisWatchList, type Waiting, type Watched, type WatchList, WatchTimes } from '../../../lib/pay/watch-list.ts'
import { connectPrompt } from '../../../lib/redis/connect.ts'
import { redisKeys } from '../../../lib/redis/keys.ts'
import { sharedRedis } from '../../helper.ts'

const MINUTE = 60_000
const DAY = 86_400_000

async function openList(t: Test): Promise<WatchList> {
  const { url } = await sharedRedis()
  const redis = connectPrompt(url, () => undefined)
  t.teardown(() => redis.disconnect())
  await once(redis, 'ready')
  return new RedisWatchList(redis, redisKeys(`t${randomBytes(4).toString('hex')}`))
}

const order = (number: string): Watched => ({ kind: 'order', mchid: '1900000109', number })

t.test('take() gives what is due, once, and says when the next is', async (t) => {
  const list = await openList(t)
  const refund: Watched = { kind: 'refund', mchid: '1900000109', number: 'a|*-@_' }
  await list.add(order('first'), 100)
  await list.add(refund, 200)
  await list.add(order('third'), 400)
  await list.add(order('third'), 300)
  await list.add(order('third'), 500)
  t.same(await list.take(99, 1000, 10), { entries: [], nextMs: 100 })
  t.same(await list.take(250, 1000, 1), { entries: [order('first')], nextMs: 200 })
  t.same(await list.take(250, 1000, 10), { entries: [refund], nextMs: 300 })
  t.same(await list.take(250, 1000, 10), { entries: [], nextMs: 300 })
})

t.test('what a dead instance took is taken by another when its time is over', async (t) => {
  const list = await openList(t)
  await list.add(order('first'), 100)
  await list.take(100, 60_100, 10)
  t.same((await list.take(60_099, 120_099, 10)).entries, [])
  t.same((await list.take(60_100, 120_100, 10)).entries, [order('first')])
})

t.test('giveBack() undoes nothing that came meanwhile', async (t) => {
  const list = await openList(t)
  for (const dueMs of [200, undefined]) {
    await list.add(order('first'), 100)
    await list.take(100, 60_100, 10)
    await list.remove(order('first'))
    await list.giveBack(order('first'), 60_100, dueMs)
    t.same(await list.take(1000, 60_000, 10), { entries: [], nextMs: undefined }, 'removed')

    await list.add(order('first'), 100)
    await list.take(100, 60_100, 10)
    await list.add(order('first'), 3000)
    await list.giveBack(order('first'), 60_100, dueMs && 50_000)
    t.same(await list.take(1000, 60_000, 10), { entries: [], nextMs: 3000 }, 'added once more')

    await list.take(3000, 70_000, 10)
    await list.take(70_000, 130_000, 10)
    await list.giveBack(order('first'), 70_000, dueMs)
    t.same(await list.take(70_000, 140_000, 10), { entries: [], nextMs: 130_000 }, 'taken by another')
    await list.giveBack(order('first'), 130_000, undefined)
    t.same(await list.take(200_000, 300_000, 10), { entries: [], nextMs: undefined }, 'ended')
  }
})

t.test('an order is asked for at growing intervals, and a refund by its own', (t) => {
  for (const [kind, minutes] of [
    ['order', [0.5, 1.5, 3.5, 8.5, 18.5, 48.5, 108.5, 288.5, 648.5, 1368.5, 2088.5]],
    ['refund', [1, 6, 16, 36, 66, 126, 306, 666, 1386, 2106]]
  ] as const) {
    const times = new WatchTimes(30_000, () => 0)
    const due = [times.first(kind, 0)]
    while (due.length < minutes.length)
      due.push(times.next({ kind, createdAtMs: 0, endMs: 7 * DAY }, due.at(-1) ?? 0) ?? 0)
    t.same(
      due.map((ms) => ms / MINUTE),
      minutes,
      kind
    )
  }
  t.end()
})

t.test('an order is asked for until WeChat closed it, and a while longer; no answer is never the end', (t) => {
  const times = new WatchTimes(30_000, () => 0)
  const waiting = (timeExpire?: string): Waiting => {
    const endMs = endMsOf({ createdAt: 0, ...(timeExpire && { timeExpire }) })
    return { kind: 'order', createdAtMs: 0, endMs }
  }
  const plain = waiting()
  const short = waiting(new Date(5 * MINUTE).toISOString())
  const long = waiting(new Date(20 * DAY).toISOString())
  t.equal(times.next(short, 4 * MINUTE), 9 * MINUTE)
  t.equal(times.next(short, 14 * MINUTE), 15 * MINUTE, 'asked for once more then')
  t.equal(times.next(short, 15 * MINUTE), undefined)
  t.equal(times.next(plain, 7 * DAY), 7 * DAY + 10 * MINUTE)
  t.equal(times.next(plain, 7 * DAY + 10 * MINUTE), undefined)
  t.equal(times.next(long, 19.9 * DAY), 20 * DAY + 10 * MINUTE)
  t.equal(times.next(long, 20 * DAY + 10 * MINUTE), undefined)
  t.equal(times.next(waiting('2099-01-01T00:00:00Z'), 91 * DAY), undefined, 'as long as WeChat lets it live')
  t.equal(times.next({ kind: 'refund', createdAtMs: 0, endMs: 30 * DAY }, 30 * DAY + 10 * MINUTE), undefined)
  t.equal(times.retry(plain, 30 * DAY), 30 * DAY + 60 * MINUTE)
  t.equal(new WatchTimes(30_000, () => 0.5).retry(plain, 0), 31_500, 'jittered')
  t.end()
})

t.test('startReconciling() goes on when one entry, or Redis, fails', async (t) => {
  const list = await openList(t)
  for (const number of ['broken', 'open', 'settled']) await list.add(order(number), 0)
  const errors: string[] = []
  const reports: ReconcileReport[] = []
  const done = Promise.withResolvers<void>()
  const check = async ({ number }: Watched): Promise<Checked> => {
    if (number === 'broken') throw new Error('Command timed out')
    const waiting: Waiting = { kind: 'order', createdAtMs: Date.now(), endMs: Date.now() + DAY }
    return number === 'open' ? { status: 'open', waiting } : { status: 'settled', found: false }
  }
  let fails = 1
  const watchList: WatchList = {
    add: (...args) => list.add(...args),
    remove: (...args) => list.remove(...args),
    giveBack: (...args) => list.giveBack(...args),
    take: (...args) => (fails-- > 0 ? Promise.reject(new Error('Connection is closed.')) : list.take(...args))
  }
  const worker = startReconciling({
    watchList,
    check,
    times: new WatchTimes(MINUTE),
    firstMs: MINUTE,
    onChecked: (report) => void (reports.push(report) === 2 && done.resolve()),
    onError: ({ message }) => errors.push(message),
    now: Date.now
  })
  await done.promise
  await worker.close()
  t.same(reports.map(({ number, status }) => [number, status]).sort(), [
    ['open', 'open'],
    ['settled', 'settled']
  ])
  t.same(errors.sort(), ['Command timed out', 'Connection is closed.'])
  t.same((await list.take(Date.now() + MINUTE / 2, Date.now() + 5 * MINUTE, 10)).entries, [], 'held, or not due')
  const later = await list.take(Date.now() + 4 * MINUTE, Date.now() + 5 * MINUTE, 10)
  t.same(later.entries.map(({ number }) => number).sort(), ['broken', 'open'])
})

t.test('startReconciling(): one slow answer holds nobody else up, and close() waits for it', async (t) => {
  const list = await openList(t)
  const numbers = Array.from({ length: 25 }, (_, index) => `quick${index}`)
  for (const number of ['hangs', ...numbers]) await list.add(order(number), 0)
  const answer = Promise.withResolvers<void>()
  const othersDone = Promise.withResolvers<void>()
  const asked: string[] = []
  const worker = startReconciling({
    watchList: list,
    check: async ({ number }) => {
      if (number === 'hangs') await answer.promise
      return { status: 'settled', found: false }
    },
    times: new WatchTimes(MINUTE),
    firstMs: MINUTE,
    onChecked: ({ number }) => void (asked.push(number) === numbers.length && othersDone.resolve()),
    onError: (error) => t.fail(error.message),
    now: Date.now
  })
  await othersDone.promise
  t.same(asked.sort(), numbers.sort())
  const closed = worker.close()
  answer.resolve()
  await closed
  t.equal(asked.at(-1), 'hangs')
})
