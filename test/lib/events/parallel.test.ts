/** How many posts a receiver gets at once, and which of the waiting events goes first. */
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { build } from '../../helper.ts'
import { notify, payment, signed } from '../../routes/wechat/notices.ts'
import { event, eventWorld, receive } from './world.ts'

const take = (response: ServerResponse) => response.writeHead(204).end()

t.test('startDelivery() posts fewer at once while the receiver does not answer, and more again', async (t) => {
  const { recorder, start } = await eventWorld(t)
  const [most, underWay]: [number, number[]] = [8, []]
  let held: ServerResponse[] = []
  let isUp = false
  /** So many are answered together, and one more the next time. */
  let together = 1
  const risen = Promise.withResolvers<void>()
  const receiver = await receive(t, (response, _post, nth) => {
    underWay.push(nth - tries.length)
    if (nth <= most || isUp) held.push(response)
    if (nth === most) for (const each of held.splice(0)) each.writeHead(503).end()
    if (nth > 12 && nth <= 14) response.socket?.resetAndDestroy()
    if (!isUp || held.length < together) return
    for (const each of held) take(each)
    if (together === most) risen.resolve()
    together = Math.min(held.length + 1, most)
    held = []
  })
  for (let index = 0; index < 80; index++) await recorder.record(event(`pay_${index}`))
  const { tries } = start(receiver.url, { concurrency: most, times: { answerMs: 1000 } })
  await receiver.came(16)
  t.equal(Math.max(...underWay.slice(0, most)), most)
  t.ok(Math.max(...underWay.slice(most, 12)) <= 4, `${underWay} after 503`)
  t.ok(Math.max(...underWay.slice(12, 14)) <= 2, `${underWay} after no answer in time`)
  t.ok(Math.max(...underWay.slice(14, 16)) <= 1, `${underWay} after a connection that broke`)
  isUp = true
  await risen.promise
})

t.test('startDelivery() posts a payment in the first place that messages without an answer leave', async (t) => {
  const { recorder, start, until } = await eventWorld(t)
  const receiver = await receive(t, (response, { id }) => id === 'pay_1' && take(response))
  for (let index = 0; index < 20; index++) await recorder.record(event(`msg_${index}`, { lowPriority: true }))
  start(receiver.url, { concurrency: 4, times: { answerMs: 1000 } })
  await receiver.came(4)
  await recorder.record(event('pay_1'))
  const begun = receiver.posts.length + 4
  await until({ completed: 1 })
  const place = receiver.posts.findIndex(({ id }) => id === 'pay_1')
  t.ok(place <= begun, `posted after ${place} messages`)
})

t.test('startDelivery() delivers to one receiver while another one hangs', async (t) => {
  const [hanging, other] = [await eventWorld(t), await eventWorld(t)]
  const silent = await receive(t, () => undefined)
  const fast = await receive(t, take)
  for (let index = 0; index < 20; index++) await hanging.recorder.record(event(`pay_${index}`))
  hanging.start(silent.url, { concurrency: 4, times: { answerMs: 600_000 } })
  await silent.came(4)
  other.start(fast.url, { concurrency: 4 })
  await Promise.all(Array.from({ length: 100 }, (_, index) => other.recorder.record(event(`pay_${index}`))))
  await other.until({ completed: 100 })
  t.equal(silent.posts.length, 4)
})

t.test('startDelivery() posts first tries before retries, and payments before messages', async (t) => {
  const { recorder, start, counts, until } = await eventWorld(t)
  const gates: ServerResponse[] = []
  const refused = new Set<string>()
  const receiver = await receive(t, (response, { id }) => {
    if (id.startsWith('gate')) gates.push(response)
    else if (id.endsWith('new') || refused.has(id)) take(response)
    else refused.add(id) && response.writeHead(500).end()
  })
  for (const id of ['pay_1', 'pay_2', 'gate_1']) await recorder.record(event(id))
  const { tries } = start(receiver.url, { concurrency: 1, times: { pauseMs: () => 1 } })
  await receiver.came(3)
  // The pauses of both are over when the next event is taken.
  for (const end = Date.now() + 5; Date.now() < end; ) await counts()
  await recorder.record(event('gate_2'))
  take(gates[0] as ServerResponse)
  await receiver.came(4)
  await until({ delayed: 0 })
  await recorder.record(event('msg_1', { lowPriority: true }))
  await recorder.record(event('msg_new', { lowPriority: true }))
  await recorder.record(event('pay_new'))
  take(gates[1] as ServerResponse)
  await until({ completed: 7, active: 0 })
  const order = ['pay_1', 'pay_2', 'gate_1', 'gate_2', 'pay_new', 'pay_1', 'pay_2', 'msg_1', 'msg_new', 'msg_1']
  t.same(
    receiver.posts.map(({ id }) => id),
    order
  )
  t.equal(tries.length, order.length)
})

t.test('DELIVERY_CONCURRENCY is the most that an instance posts at once', async (t) => {
  const held: ServerResponse[] = []
  const receiver = await receive(t, (response) => held.push(response))
  const { app, secrets } = await build(t, { env: { WEBHOOK_URL: receiver.url, DELIVERY_CONCURRENCY: '2' } })
  await Promise.all(Array.from({ length: 10 }, () => notify(app, signed(payment(), secrets.apiV2Key))))
  await receiver.came(2)
  // Time enough for more to come.
  for (let time = 0; time < 50; time++) t.match(await app.events.recorder.counts(), { active: 2, waiting: 8 })
  t.equal(receiver.posts.length, 2)
  for (const response of held.splice(0)) take(response)
  await receiver.came(4)
  for (const response of held) take(response)
})
