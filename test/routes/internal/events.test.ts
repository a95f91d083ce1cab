/** Recorded events and their deliveries as the merchant's backend sees them, and sending one again. */
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { EventSummary } from '../../../lib/events/job-reader.ts'
import type { Event } from '../../../lib/events/model.ts'
import { API_KEY, build, type Environment } from '../../helper.ts'
import { event, receive } from '../../lib/events/world.ts'
import { bearer, refused } from '../api/client.ts'
import { notify, payment, SUCCESS, signed } from '../wechat/notices.ts'
import { PLAIN, plainPush, send, succeeds, textMessage } from '../wechat/pushes.ts'
import { ask } from './backend.ts'

const URL = '/internal/events'
/** Events stay where they are recorded. */
const NO_RECEIVER = { WEBHOOK_URL: undefined }
const DAY_MS = 86_400_000

interface EventPage {
  items: EventSummary[]
  next?: string
}

async function start(t: Test, env: Environment = NO_RECEIVER) {
  const world = await build(t, { env })
  const { app } = world
  const idOf = (number: number) => `pay_1_${String(number).padStart(4, '0')}`
  return {
    ...world,
    list: async (query = ''): Promise<EventPage> => (await ask(app, { url: URL + query })).json(),
    find: async (id: string) => (await ask(app, { url: `${URL}/${id}` })).json(),
    redeliver: (id: string) => ask(app, { method: 'POST', url: `${URL}/${id}/redeliver` }),
    idOf,
    /** One after the other, so that their order is known. */
    async record(count: number, change: Partial<Event> = {}, first = 1): Promise<string[]> {
      const ids = Array.from({ length: count }, (_, number) => idOf(first + number))
      for (const id of ids) await app.events.recorder.record(event(id, change))
      return ids
    }
  }
}

const idsOf = ({ items }: EventPage): string[] => items.map(({ id }) => id)

/** All pages from the first to the last, as their ids. */
async function pages(list: (query: string) => Promise<EventPage>, query: string): Promise<string[][]> {
  const found: string[][] = []
  let cursor: string | undefined = ''
  while (cursor !== undefined) {
    const page: EventPage = await list(`?${query}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
    found.push(idsOf(page))
    cursor = page.next
  }
  return found
}

/** Looks again until the event is as wanted. */
async function until(find: (id: string) => Promise<EventSummary>, id: string, fits: (event: EventSummary) => boolean) {
  for (;;) {
    const found = await find(id)
    if (fits(found)) return found
  }
}

const at = (jobKey: string) => `${jobKey.split(':webhook:')[0]}:webhook:`

/** The names of the jobs of an event. */
async function jobOf({ redis, keys }: FastifyInstance, id: string): Promise<string> {
  const [name = ''] = await redis.keys(`${keys.eventQueue}:webhook:${id}.*`)
  return name.slice(at(name).length)
}

/** Newer entries of `set`, whose jobs are not there. */
async function fill({ redis }: FastifyInstance, set: string, count: number): Promise<void> {
  const add = `for n = ARGV[1], ARGV[2] do
    redis.call('ZADD', KEYS[1], ARGV[3], 'msg_2_' .. n .. '.aaaaaaaa.bbbbbb')
  end`
  for (let first = 1; first <= count; first += 10_000)
    await redis.eval(add, 1, set, first, Math.min(first + 9999, count), Date.now() + 1000)
}

t.test('GET events/{id} shows an event that waits, is to be tried again, failed, and was delivered', async (t) => {
  const { app, another, backend, record, find, list, redeliver } = await start(t)
  const [id = ''] = await record(1, { type: 'refund.closed' })
  const waiting = await find(id)
  const { timestamp, data } = event(id)
  t.match(waiting, { id, type: 'refund.closed', state: 'waiting', attempts: 0, timestamp, data })
  t.same(Object.keys(waiting), ['id', 'type', 'state', 'recordedAt', 'attempts', 'timestamp', 'data'])
  t.ok(Math.abs(Date.parse(waiting.recordedAt) - Date.now()) < 60_000)

  backend.respond(503, 1)
  await another({ WEBHOOK_URL: backend.webhookUrl })
  const paused = await until(find, id, ({ attempts, nextTryAt }) => attempts === 1 && nextTryAt !== undefined)
  t.match(paused, { state: 'waiting', lastStatus: 503, lastError: 'the receiver answered 503' })
  const pauseMs = Date.parse(paused.nextTryAt ?? '') - Date.now()
  t.ok(pauseMs > 0 && pauseMs <= 5500, `${pauseMs} ms`)
  t.match(await list('?state=waiting'), { items: [{ id, attempts: 1, nextTryAt: paused.nextTryAt }] })

  backend.respond(410, 1)
  t.equal((await redeliver(id)).statusCode, 202, 'what pauses is tried at once')
  const failed = await until(find, id, ({ state }) => state === 'failed')
  t.match(failed, { attempts: 2, lastStatus: 410, lastError: /410/, failedAt: /Z$/, nextTryAt: undefined })
  t.same(idsOf(await list('?state=waiting')), [])
  t.same(idsOf(await list('?state=failed')), [id])

  t.equal((await redeliver(id)).statusCode, 202)
  const delivered = await until(find, id, ({ state }) => state === 'delivered')
  t.match(delivered, {
    attempts: 1,
    lastStatus: 204,
    lastError: undefined,
    failedAt: undefined,
    deliveredAt: /Z$/,
    data
  })
  t.same(idsOf(await list('?state=failed')), [])
  t.same(idsOf(await list('?state=delivered')), [id])

  t.equal((await redeliver(id)).statusCode, 202, 'delivered once more')
  await backend.waitFor((event) => event.id === id && event.attempts === 4)
  t.equal(await app.events.recorder.record(event(id)), 'duplicate', 'and still one event')
  t.equal(backend.events().length, 1, 'under one webhook-id')
})

t.test('POST redeliver takes an event that waits, twice, and changes nothing of it', async (t) => {
  const { app, record, redeliver, list, find } = await start(t)
  const [id = ''] = await record(1, { lowPriority: true })
  for (const time of [1, 2]) {
    const answer = await redeliver(id)
    t.equal(answer.statusCode, 202, `${time}`)
    t.same(answer.json(), { id, state: 'waiting' })
  }
  t.same(idsOf(await list('?state=waiting')), [id])
  t.match(await find(id), { state: 'waiting', attempts: 0 })
  t.match(await app.events.recorder.counts(), { waiting: 1 })
})

t.test('POST redeliver is for every state what it says, also when twenty ask at once', async (t) => {
  const { app, backend, another, record, redeliver, find, list } = await start(t)
  const [id = ''] = await record(1)
  const worker = await another({ WEBHOOK_URL: backend.webhookUrl })
  await until(find, id, ({ state }) => state === 'delivered')
  await worker.close()
  const answers = await Promise.all(Array.from({ length: 20 }, () => redeliver(id)))
  t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([202]))
  t.match(await app.events.recorder.counts(), { waiting: 1 })
  t.same(idsOf(await list('?state=waiting')), [id])
})

t.test('POST redeliver ends the pause of what is to be tried again, and what was tried counts on', async (t) => {
  const { app, backend, another, record, redeliver, find } = await start(t)
  const ids = [...(await record(1)), ...(await record(1, { lowPriority: true }, 2))]
  backend.respond(503, 2)
  const worker = await another({ WEBHOOK_URL: backend.webhookUrl })
  for (const id of ids) await until(find, id, ({ nextTryAt }) => nextTryAt !== undefined)
  await worker.close()
  t.match(await app.events.recorder.counts(), { delayed: 2, waiting: 0 })
  for (const id of ids) t.equal((await redeliver(id)).statusCode, 202)
  t.match(await app.events.recorder.counts(), { delayed: 0, waiting: 2 })
  for (const id of ids) t.match(await find(id), { state: 'waiting', attempts: 1, nextTryAt: undefined })
})

t.test('a message that failed and is sent again is still patient, and arrives', async (t) => {
  const { app, backend, another, record, redeliver, find } = await start(t)
  const [id = ''] = await record(1, { lowPriority: true })
  backend.respond(410, 1)
  const worker = await another({ WEBHOOK_URL: backend.webhookUrl })
  await until(find, id, ({ state }) => state === 'failed')
  await worker.close()
  t.equal((await redeliver(id)).statusCode, 202)
  t.match(await app.events.recorder.counts(), { waiting: 1, failed: 0 })
  t.equal(await app.redis.zcard(`${app.keys.eventQueue}:webhook:prioritized`), 1)
  await another({ WEBHOOK_URL: backend.webhookUrl })
  t.match(await until(find, id, ({ state }) => state === 'delivered'), { attempts: 1 })
})

t.test('a payment that WeChat tells of after 60 messages is posted among the first 50', async (t) => {
  const { app, another, secrets, list } = await start(t, { ...PLAIN, ...NO_RECEIVER })
  for (let number = 0; number < 60; number += 1) succeeds(t, await send(app, plainPush(JSON.stringify(textMessage()))))
  const fields = payment()
  t.equal((await notify(app, signed(fields, secrets.apiV2Key))).body, SUCCESS)
  t.match(await app.events.recorder.counts(), { waiting: 61 })
  t.equal(idsOf(await list('?state=waiting&limit=100')).length, 61)
  const held: ServerResponse[] = []
  const receiver = await receive(t, (response) => held.push(response))
  await another({ ROLES: 'worker', WEBHOOK_URL: receiver.url })
  await receiver.came(50)
  const first = receiver.posts.slice(0, 50).map(({ id }) => id)
  for (const response of held) response.writeHead(204).end()
  t.ok(first.includes(`pay_${fields.mch_id}_${fields.transaction_id}`), first.join())
})

t.test('GET events goes page by page, newest first, in each state and over all of them', async (t) => {
  const { app, record, list } = await start(t)
  const ids = await record(250)
  const newest = ids.toReversed()
  t.same(
    (await pages(list, 'limit=100')).map(({ length }) => length),
    [100, 100, 50]
  )
  t.same((await pages(list, 'limit=100&state=waiting')).flat(), newest)
  t.same((await pages(list, 'limit=7')).flat(), newest)
  t.same(idsOf(await list()), newest.slice(0, 20))

  // As a worker moves them: every third delivered, every fifth failed.
  const { eventQueue } = app.keys
  for (const [number, id] of ids.entries()) {
    if (number % 3 !== 0 && number % 5 !== 0) continue
    const job = await jobOf(app, id)
    const [set, field] =
      number % 3 === 0 ? (['completed', 'returnvalue'] as const) : (['failed', 'failedReason'] as const)
    const endedAt = Date.now() - 1000 * (250 - number)
    await app.redis.lrem(`${eventQueue}:webhook:wait`, 1, job)
    await app.redis.zadd(`${eventQueue}:webhook:${set}`, endedAt, job)
    const said = field === 'returnvalue' ? '204' : 'no answer: ECONNREFUSED'
    await app.redis.hset(`${eventQueue}:webhook:${job}`, { [field]: said, finishedOn: endedAt, atm: 1 })
  }
  const numbered = ids.map((id, number) => ({ id, number })).toReversed()
  const delivered = numbered.filter(({ number }) => number % 3 === 0).map(({ id }) => id)
  const failed = numbered.filter(({ number }) => number % 3 !== 0 && number % 5 === 0).map(({ id }) => id)
  const waiting = newest.filter((id) => !delivered.includes(id) && !failed.includes(id))
  t.same((await pages(list, 'limit=20&state=delivered')).flat(), delivered)
  t.same((await pages(list, 'limit=20&state=failed')).flat(), failed)
  t.equal(await app.redis.zcard(`${eventQueue}:waiting`), 250, 'the index still knows them all')
  t.same((await pages(list, 'limit=20&state=waiting')).flat(), waiting)
  t.equal(await app.redis.zcard(`${eventQueue}:waiting`), waiting.length, 'and has forgotten who is gone')
  const all = (await pages(list, 'limit=30')).flat()
  t.equal(all.length, 250)
  t.same([...all].sort(), ids)
  t.match((await list('?state=failed&limit=1')).items, [
    { lastError: 'no answer: ECONNREFUSED', lastStatus: undefined }
  ])
})

t.test('GET events keeps its place while events come and go, those of one millisecond too', async (t) => {
  const { app, record, list } = await start(t)
  const ids = await record(12)
  const index = `${app.keys.eventQueue}:waiting`
  const members = await app.redis.zrange(index, '0', '-1')
  for (const member of members) await app.redis.zadd(index, 1_700_000_000_000, String(member))
  const newest = ids.toReversed()
  t.same((await pages(list, 'limit=5')).flat(), newest)
  const { next = '' } = await list('?limit=5')
  await record(1, {}, 100)
  await app.redis.zrem(index, members.at(-5) ?? '')
  t.same(idsOf(await list(`?limit=100&cursor=${next}`)), newest.slice(5), 'who stood at the cursor is gone')
})

t.test('GET events costs the same with 150 and with 20,000 that wait', async (t) => {
  const { app, record, list } = await start(t)
  await record(150)
  const { redis, keys } = app
  const reads = async () => {
    const { next = '' } = await list('?limit=50')
    await redis.config('RESETSTAT')
    await list(`?limit=50&cursor=${next}`)
    const stats = await redis.info('commandstats')
    return [...stats.matchAll(/cmdstat_(hmget|zrevrangebyscore|evalsha|zscore|lrange):calls=(\d+)/g)].map(String).sort()
  }
  const few = await reads()
  const [sample = ''] = await redis.keys(`${keys.eventQueue}:webhook:pay_*`)
  const data = await redis.hgetall(sample)
  for (let first = 0; first < 20_000; first += 500) {
    const pipeline = redis.pipeline()
    for (let number = first; number < first + 500; number += 1) {
      const job = `pay_2_${number}.aaaaaaaa.bbbbbb`
      pipeline.hset(`${at(sample)}${job}`, data).zadd(`${keys.eventQueue}:waiting`, 1_600_000_000_000 + number, job)
    }
    await pipeline.exec()
  }
  t.same(await reads(), few)
})

t.test('GET events/{id} finds what failed or waits though its identity is forgotten after 32 days', async (t) => {
  const { app, record, find, redeliver } = await start(t)
  const [waits = '', failed = ''] = await record(2)
  const job = await jobOf(app, failed)
  const { eventQueue } = app.keys
  await app.redis.lrem(`${eventQueue}:webhook:wait`, 1, job)
  await app.redis.zadd(`${eventQueue}:webhook:failed`, 1_700_000_000_000, job)
  await app.redis.hset(`${eventQueue}:webhook:${job}`, 'failedReason', 'x', 'finishedOn', 1_700_000_000_000)
  for (const id of [waits, failed]) t.equal(await app.redis.del(`${eventQueue}:webhook:de:${id}`), 1)
  await app.redis.zadd(`${eventQueue}:waiting`, Date.now() - 32 * DAY_MS, await jobOf(app, waits))
  t.match(await find(waits), { id: waits, state: 'waiting' })
  t.match(await find(failed), { id: failed, state: 'failed' })
  t.equal((await redeliver(failed)).statusCode, 202)
  t.match(await find(failed), { state: 'waiting' })
})

t.test('GET events/{id} of an id that nobody knows does not look through what waits', async (t) => {
  const { app, record, find } = await start(t)
  await record(1)
  const { redis, keys } = app
  const looks = async (id: string) => {
    await redis.config('RESETSTAT')
    t.match(await find(id), { code: 'NOT_FOUND' })
    return Number(/cmdstat_zscan:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
  }
  await fill(app, `${keys.eventQueue}:waiting`, 20_000)
  t.equal(await looks('pay_1_none'), 1, 'the one that finds nothing failed')
})

t.test('a payment stays among the delivered though 200,000 events are delivered in all', async (t) => {
  const { app, another, backend, record, find } = await start(t)
  await another({ WEBHOOK_URL: backend.webhookUrl })
  const [paid = ''] = await record(1)
  await until(find, paid, ({ state }) => state === 'delivered')
  await fill(app, `${app.keys.eventQueue}:webhook:completed`, 199_998)
  const [message = ''] = await record(1, { type: 'message.received', lowPriority: true }, 2)
  await until(find, message, ({ state }) => state === 'delivered')
  t.match(await find(paid), { id: paid, state: 'delivered', lastStatus: 204 })
})

t.test('GET events does not show what was delivered more than 48 hours ago', async (t) => {
  const { app, another, backend, record, find, list } = await start(t)
  const [id = ''] = await record(1)
  await another({ WEBHOOK_URL: backend.webhookUrl })
  await until(find, id, ({ state }) => state === 'delivered')
  const job = await jobOf(app, id)
  const shownAt = async (ageMs: number) => {
    await app.redis.zadd(`${app.keys.eventQueue}:webhook:completed`, Date.now() - ageMs, job)
    return idsOf(await list('?state=delivered'))
  }
  t.same(await shownAt(2 * DAY_MS - 60_000), [id])
  t.same(await shownAt(2 * DAY_MS + 1000), [])
})

t.test('a duplicate leaves nothing in the list, and a job that was never made is forgotten', async (t) => {
  const { app, record, list } = await start(t)
  const ids = await record(3)
  await record(3)
  t.same(idsOf(await list()), ids.toReversed())
  const index = `${app.keys.eventQueue}:waiting`
  t.equal(await app.redis.zcard(index), 3)
  await app.redis.zadd(index, Date.now(), 'pay_1_young.aaaaaaaa.bbbbbb')
  await app.redis.zadd(index, Date.now() - 120_000, 'pay_1_old.aaaaaaaa.bbbbbb')
  t.same(idsOf(await list()), ids.toReversed())
  t.equal(await app.redis.zscore(index, 'pay_1_old.aaaaaaaa.bbbbbb'), null)
  t.ok(await app.redis.zscore(index, 'pay_1_young.aaaaaaaa.bbbbbb'), 'its job may be on the way')
})

t.test('GET events keeps its order though a page ends early, among entries whose jobs are not there yet', async (t) => {
  const { app, record, list } = await start(t)
  const [waits = '', failed = ''] = await record(2)
  const { eventQueue } = app.keys
  const job = await jobOf(app, failed)
  await app.redis.lrem(`${eventQueue}:webhook:wait`, 1, job)
  await app.redis.zadd(`${eventQueue}:webhook:failed`, 1_700_000_000_000, job)
  await app.redis.hset(`${eventQueue}:webhook:${job}`, { failedReason: 'x', finishedOn: 1_700_000_000_000 })
  for (let number = 0; number < 100; number += 1)
    await app.redis.zadd(`${eventQueue}:waiting`, Date.now() + 1000, `pay_2_${number}.aaaaaaaa.bbbbbb`)
  const found = await pages(list, 'limit=1')
  t.same(found[0], [], 'a page may be empty while there are more')
  t.same(found.flat(), [waits, failed])
})

t.test('calls about events refuse what is wrong, each with its own code', async (t) => {
  const { app, record } = await start(t)
  const [id = ''] = await record(1)
  const calls: InjectOptions[] = [
    { url: URL },
    { url: `${URL}/${id}` },
    { method: 'POST', url: `${URL}/${id}/redeliver` }
  ]
  for (const call of calls) {
    refused(t, await ask(app, { ...call, headers: {} }), 401, 'TOKEN_MISSING')
    refused(t, await ask(app, { ...call, headers: bearer(`${API_KEY}x`) }), 401, 'TOKEN_INVALID')
  }
  const odd = [
    'pay_1',
    `${id}.`,
    '*',
    'pay_1_*',
    '%2e%2e',
    'a%2Fb',
    '%00',
    '%E4%BD%A0',
    'x'.repeat(128),
    `${id}%20`,
    ':'
  ]
  for (const wrong of odd) {
    refused(t, await ask(app, { url: `${URL}/${wrong}` }), 404, 'NOT_FOUND')
    refused(t, await ask(app, { method: 'POST', url: `${URL}/${wrong}/redeliver` }), 404, 'NOT_FOUND')
  }
  for (const query of [
    'state=',
    'state=lost',
    'state=failed&state=failed',
    'limit=0',
    'limit=101',
    'limit=x',
    'cursor=',
    'cursor=x',
    'cursor=a.b:c',
    'page=2'
  ])
    refused(t, await ask(app, { url: `${URL}?${query}` }), 400, 'FST_ERR_VALIDATION')
  t.equal((await ask(app, { url: `${URL}?cursor=zzzzzzzz.any` })).statusCode, 200, 'a place that nobody was given')
  const asJson = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' }
  t.equal((await ask(app, { method: 'POST', url: `${URL}/${id}/redeliver`, headers: asJson })).statusCode, 202)
})

t.test('calls about events answer 503 while Redis is away', async (t) => {
  const { app, record } = await start(t)
  const [id = ''] = await record(1)
  app.redis.disconnect()
  for (const url of [URL, `${URL}/${id}`]) refused(t, await ask(app, { url }), 503, 'REDIS_UNAVAILABLE')
  refused(t, await ask(app, { method: 'POST', url: `${URL}/${id}/redeliver` }), 503, 'REDIS_UNAVAILABLE')
})
