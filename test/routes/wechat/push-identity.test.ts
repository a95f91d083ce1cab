/** Which push is which: one MsgId with several messages. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { API_KEY, APPID, build } from '../../helper.ts'
import {
  answers,
  eventMessage,
  eventsIn,
  type Fields,
  SAFE,
  safePush,
  send,
  succeeds,
  textMessage,
  xml
} from './pushes.ts'

const json = JSON.stringify

const idsIn = async (app: FastifyInstance) => (await eventsIn(app)).map(({ id }) => id)

t.test('one MsgId with another message is another event, and each of them is one', async (t) => {
  const { app, another } = await build(t, { env: SAFE })
  const other = await another()
  const MsgId = '6054768590064713728'
  const base = `msg_${APPID}_${MsgId}`
  const first = textMessage({ MsgId })
  const others: Record<string, Fields> = {
    'another sender': { ...first, FromUserName: 'oAnother' },
    'another content': { ...first, Content: 'hello ' },
    'another kind': { ...first, MsgType: 'image' },
    'another time': { ...first, CreateTime: 1714112446 },
    'another field': { ...first, Extra: 'x' },
    'a field less': { ...first, ToUserName: undefined },
    'a control character': { ...first, Content: 'hello\x01' },
    'another control character': { ...first, Content: 'hello\x02' }
  }
  succeeds(t, await send(app, safePush(json(first))))
  for (const [name, message] of Object.entries(others)) {
    const before = await idsIn(app)
    for (const instance of [app, other, app]) succeeds(t, await send(instance, safePush(json(message))))
    const added = (await idsIn(app)).filter((id) => !before.includes(id))
    t.equal(added.length, 1, name)
    t.match(added[0], new RegExp(`^${base}_[0-9a-f]{16}$`), name)
  }
  const same: Record<string, string> = {
    'a repeat': json(first),
    XML: xml(first),
    'MsgId as a number': json(first).replace(`"${MsgId}"`, MsgId),
    'time as text': json({ ...first, CreateTime: '1714112445' }),
    'another order': json(Object.fromEntries(Object.entries(first).reverse())),
    'a counter of tries': json({ ...first, RetryTimes: 2 }),
    'a repeat of the second': json(others['another sender'])
  }
  const before = await idsIn(app)
  t.equal(before.length, 9)
  for (const [name, message] of Object.entries(same)) {
    succeeds(t, await send(app, safePush(message)))
    t.same(await idsIn(app), before, name)
  }
  t.ok(before.includes(base))
})

t.test('whichever of two messages comes first, at once and on two instances, each is one event', async (t) => {
  const world = await build(t, { env: { ...SAFE, ROLES: 'api,worker' } })
  const { app, another, backend } = world
  const both = [app, await another()]
  for (let round = 0; round < 5; round++) {
    const MsgId = String(5_000_000_000_000 + round)
    const messages = ['a', 'b', 'c'].map((Content) => json(textMessage({ MsgId, Content })))
    const pushes = Array.from({ length: 24 }, (_, index) => safePush(messages[index % 3] ?? ''))
    const sent = pushes.map((push, index) => send(both[index % 2] ?? app, push))
    for (const answer of await Promise.all(sent)) succeeds(t, answer)
    const base = `msg_${APPID}_${MsgId}`
    const ofThis = () => backend.events().filter(({ id, accepted }) => accepted && id.startsWith(base))
    await backend.waitFor(() => ofThis().length === 3)
    t.same(new Set(ofThis().map(({ data }) => (data.raw as Fields).Content)), new Set(['a', 'b', 'c']))
    t.equal(ofThis().filter(({ id }) => id === base).length, 1)
    for (const { id } of ofThis()) {
      const headers = { authorization: `Bearer ${API_KEY}` }
      t.match((await app.inject({ url: `/internal/events/${id}`, headers })).json(), { id })
    }
  }
  for (const { attempts } of backend.events()) t.equal(attempts, 1)
})

t.test('messages without a MsgId are told apart by all that they say', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const event = eventMessage('debug_demo', { debug_str: 'a' })
  for (const fields of [event, event, { ...event, debug_str: 'b' }, { ...event, MsgId: '' }, { ...event, MsgId: 0 }])
    succeeds(t, await send(app, safePush(json(fields))))
  const ids = await idsIn(app)
  t.equal(ids.length, 4)
  for (const id of ids) t.match(id, new RegExp(`^msg_${APPID}_[0-9a-f]{32}$`))
})

t.test('what the version before recorded is not told again, and it tells nothing again of ours', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const recordedBefore = (message: Fields, id: string) => ({
    id,
    type: 'message.received',
    timestamp: '2024-04-26T06:20:45.000Z',
    data: { raw: message },
    essence: id,
    isPatient: true
  })
  const message = textMessage()
  const id = `msg_${APPID}_${message.MsgId}`
  t.equal(await app.events.record(recordedBefore(message, id)), 'recorded')
  succeeds(t, await send(app, safePush(json(message))))
  t.same(await idsIn(app), [id])

  const ours = textMessage()
  succeeds(t, await send(app, safePush(json(ours))))
  // It answers success to whatever is not recorded.
  t.not(await app.events.record(recordedBefore(ours, `msg_${APPID}_${ours.MsgId}`)), 'recorded')
  t.equal((await eventsIn(app)).length, 2)
})
