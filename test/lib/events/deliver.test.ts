/**
 * Delivery: signed as Standard Webhooks says, and repeated until it is accepted, whatever the receiver or an instance
 * does.
 */
import type { ServerResponse } from 'node:http'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { TRIES } from '../../../lib/events/model.ts'
import { settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { standStill } from '../../stand-still.ts'
import { event, eventWorld, type Post, receive, signatureOf } from './world.ts'

const take = (response: ServerResponse) => response.writeHead(204).end()

t.test('startDelivery() posts the recorded bytes with id, time and signature', async (t) => {
  const { recorder, start, secret, until } = await eventWorld(t)
  const receiver = await receive(t, take)
  const now = Date.now() - 60_000
  const { tries } = start(receiver.url, { now: () => now })
  await recorder.record(event('pay_1_1'))
  await until({ completed: 1 })
  const [post] = receiver.posts as [Post]
  t.match(post.headers, {
    'webhook-id': 'pay_1_1',
    'webhook-timestamp': String(Math.floor(now / 1000)),
    'webhook-signature': signatureOf(post, secret),
    'content-type': 'application/json; charset=utf-8',
    'user-agent': 'wxgate'
  })
  const { type, timestamp, data } = event('pay_1_1')
  t.equal(post.body, JSON.stringify({ type, timestamp, data }))
  t.same(new Webhook(secret).verify(post.body, post.headers as Record<string, string>), { type, timestamp, data })
  t.same(tries, [{ id: 'pay_1_1', type: 'payment.succeeded', try: 1, status: 204 }])
})

t.test('startDelivery() signs with each of two secrets, so that either is enough', async (t) => {
  const { recorder, start, secret } = await eventWorld(t)
  const receiver = await receive(t, take)
  const old = `whsec_${Buffer.alloc(24, 'o').toString('base64')}`
  start(receiver.url, { secrets: [secret, old] })
  await recorder.record(event('pay_1_1'))
  await receiver.came(1)
  const [post] = receiver.posts as [Post]
  t.equal(post.headers['webhook-signature'], `${signatureOf(post, secret)} ${signatureOf(post, old)}`)
  for (const each of [secret, old]) t.ok(new Webhook(each).verify(post.body, post.headers as Record<string, string>))
})

t.test('startDelivery() tries again under the same id after whatever is not a 2xx', async (t) => {
  const { recorder, start, until } = await eventWorld(t)
  const elsewhere = await receive(t, take)
  const refusals: ((response: ServerResponse) => unknown)[] = [
    (response) => response.writeHead(500).end('x'),
    (response) => response.writeHead(302, { location: elsewhere.url }).end(),
    (response) => response.writeHead(404).end('x'.repeat(1024 * 1024)),
    (response) => response.socket?.resetAndDestroy(),
    () => undefined // no answer at all
  ]
  const receiver = await receive(t, (response, _post, nth) => (refusals[nth - 1] ?? take)(response))
  const { tries } = start(receiver.url, { times: { answerMs: 300, pauseMs: () => 20 } })
  await recorder.record(event('pay_1_1'))
  await until({ completed: 1 })
  t.same(new Set(receiver.posts.map(({ id, body }) => id + body)).size, 1)
  t.same(
    tries.map(({ status, error }) => status ?? error),
    [500, 302, 404, 'ECONNRESET', 'TimeoutError', 204]
  )
  t.same(elsewhere.posts, [], 'a redirect is not followed')
})

t.test('startDelivery() takes an answer that came while the process stood still', async (t) => {
  const { recorder, start, until } = await eventWorld(t)
  const receiver = await receive(t, (response) => {
    standStill(1500)
    take(response)
  })
  const { tries } = start(receiver.url, { times: { answerMs: 1000 } })
  await recorder.record(event('pay_1_1'))
  await until({ completed: 1 })
  t.match(tries, [{ status: 204 }])
})

t.test('startDelivery() goes by the status, and reads no more of an answer than it must', async (t) => {
  const { recorder, start, until } = await eventWorld(t)
  const endless = (response: ServerResponse) => {
    const more = () => response.destroyed || !response.write(Buffer.alloc(64 * 1024)) || setImmediate(more)
    response.writeHead(200).on('drain', more)
    more()
  }
  const long: Record<string, (response: ServerResponse) => unknown> = {
    pay_announced: (response) => response.writeHead(200, { 'content-length': 2 ** 30 }).write('x'),
    pay_endless: endless,
    pay_dripping: (response) => response.writeHead(200).write('drip')
  }
  const receiver = await receive(t, (response, { id }) => long[id]?.(response))
  const startedAt = performance.now()
  const { tries } = start(receiver.url, { times: { answerMs: 2000 } })
  for (const id of Object.keys(long)) await recorder.record(event(id))
  await until({ completed: 2 })
  t.ok(performance.now() - startedAt < 1500, 'a length is cut off at once')
  await until({ completed: 3 })
  t.match(tries, [{ status: 200 }, { status: 200 }, { status: 200 }])
})

t.test('startDelivery() stops at 410 and keeps what failed, and what failed for three days', async (t) => {
  const { recorder, start, until, redis } = await eventWorld(t)
  const receiver = await receive(t, (response, { id }) => response.writeHead(id === 'pay_gone' ? 410 : 503).end())
  const { tries } = start(receiver.url, { times: { pauseMs: () => 1 } })
  await recorder.record(event('pay_gone'))
  await recorder.record(event('pay_never'))
  await until({ failed: 2, delayed: 0, active: 0, waiting: 0 })
  t.equal(tries.filter(({ id }) => id === 'pay_gone').length, 1)
  t.equal(tries.filter(({ id }) => id === 'pay_never').length, TRIES)
  t.equal(await recorder.record(event('pay_never')), 'duplicate', 'WeChat coming again changes nothing')
  const kept = (await redis.keys('*:webhook:pay_*')).filter((name) => name.includes('pay_never'))
  const [name = ''] = kept
  t.match(await redis.hgetall(name), { data: /茶/, failedReason: 'the receiver answered 503' })
  t.equal(await redis.ttl(name), -1)
  t.notOk(await redis.hget(name, 'stacktrace').then((stack) => stack?.includes('at ')), 'no stack of ours is stored')
})

t.test('startDelivery() delivers the others while twenty posts hang', async (t) => {
  const { recorder, start } = await eventWorld(t)
  const hanging: ServerResponse[] = []
  const receiver = await receive(t, (response, { id }) => {
    if (id.startsWith('slow')) hanging.push(response)
    else take(response)
  })
  start(receiver.url)
  for (let index = 0; index < 20; index++) await recorder.record(event(`slow_${index}`))
  await receiver.came(20)
  await Promise.all(Array.from({ length: 300 }, (_, index) => recorder.record(event(`pay_${index}`))))
  await receiver.came(320)
  t.equal(hanging.length, 20)
  t.equal(new Set(receiver.posts.map(({ id }) => id)).size, 320)
  for (const response of hanging) take(response)
})

t.test('another instance takes over what a dead one had begun', async (t) => {
  const { recorder, start, until } = await eventWorld(t)
  const receiver = await receive(t, (response, _post, nth) => nth > 1 && take(response))
  const times = { lockMs: 600, lookMs: 200, pauseMs: () => 20 }
  const { die } = start(receiver.url, { times })
  await recorder.record(event('pay_1_1'))
  await receiver.came(1)
  die()
  const { tries } = start(receiver.url, { times })
  await until({ completed: 1, active: 0 })
  t.match(tries, [{ id: 'pay_1_1', try: 1, status: 204 }], 'a death is no try')
  t.equal(receiver.posts.length, 2)
})

t.test('close() lets a post under way end and notes it', async (t) => {
  const { recorder, start, counts } = await eventWorld(t)
  const held: ServerResponse[] = []
  const receiver = await receive(t, (response) => held.push(response))
  const { delivery } = start(receiver.url, { times: { closeMs: 5000 } })
  await recorder.record(event('pay_1_1'))
  await receiver.came(1)
  const closed = delivery.close()
  for (const response of held) take(response)
  await closed
  t.match(await counts(), { completed: 1, active: 0 })
})

t.test('close() leaves nothing that was delivered in the index of what waits', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { recorder, start, until, redis: connection } = await eventWorld(t, redis)
  const receiver = await receive(t, take)
  const { delivery } = start(receiver.url)
  for (let index = 0; index < 10; index++) await recorder.record(event(`pay_${index}`))
  await until({ completed: 10 })
  await delivery.close()
  t.same(await connection.keys('*:waiting'), [])
})

t.test('close() breaks off a post that takes too long; the event is tried again', async (t) => {
  const { recorder, start, counts, until } = await eventWorld(t)
  const receiver = await receive(t, (response, _post, nth) => nth > 1 && take(response))
  const { delivery } = start(receiver.url, { times: { closeMs: 50, pauseMs: () => 20 } })
  await recorder.record(event('pay_1_1'))
  await receiver.came(1)
  await delivery.close()
  t.match(await counts(), { delayed: 1, active: 0 })
  start(receiver.url)
  await until({ completed: 1 })
  t.equal(receiver.posts[0]?.id, receiver.posts[1]?.id)
})

t.test('close() does not wait for a Redis that is killed or silent', async (t) => {
  for (const trouble of ['kill', 'pause'] as const) {
    const redis = await startRedis()
    t.teardown(() => redis.stop())
    const { recorder, start } = await eventWorld(t, redis)
    const receiver = await receive(t, () => undefined)
    const { delivery, redis: patient } = start(receiver.url)
    await recorder.record(event('pay_1_1'))
    await receiver.came(1)
    const lost = new Promise((resolve) => patient.once('close', resolve))
    redis[trouble]()
    if (trouble === 'kill') await lost
    const startedAt = performance.now()
    await delivery.close()
    t.ok(performance.now() - startedAt < 4000, `${trouble}: ${performance.now() - startedAt} ms`)
  }
})

t.test('startDelivery() before Redis is there delivers once it is', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  redis.kill()
  const { recorder, start, redis: connection } = await eventWorld(t, redis)
  const receiver = await receive(t, take)
  start(receiver.url)
  await redis.restart()
  await settled(connection, 5000)
  await recorder.record(event('pay_1_1'))
  await receiver.came(1)
  t.equal(receiver.posts.length, 1)
})

t.test('startDelivery() posts what is not patient before all that is, also where that waits for longer', async (t) => {
  const { recorder, start, until } = await eventWorld(t)
  const held: ServerResponse[] = []
  const receiver = await receive(t, (response) => held.push(response))
  const messages = Array.from({ length: 60 }, (_, index) => event(`msg_wx_${index}`, { lowPriority: true }))
  for (const message of messages) await recorder.record(message)
  start(receiver.url)
  await receiver.came(50)
  await recorder.record(event('pay_1_1'))
  t.match(await recorder.counts(), { waiting: 11, active: 50 })
  take(held[0] as ServerResponse)
  await receiver.came(51)
  t.equal(receiver.posts[50]?.id, 'pay_1_1')
  const order = receiver.posts.map(({ id }) => id)
  const oldest = messages.slice(0, 50).map(({ id }) => id)
  t.same(new Set(order.slice(0, 50)), new Set(oldest), 'first come, first posted')
  for (const response of held.slice(1)) take(response)
  await receiver.came(61)
  for (const response of held.slice(51)) take(response)
  await until({ completed: 61 })
})
