/** Which push is which: one MsgId with several messages, one query for one use, and what a deleted account ends. */
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { API_KEY, APPID, build, logIn, OTHER_APPID } from '../../helper.ts'
import { faceOf } from './faces.ts'
import {
  type Answer,
  answers,
  eventMessage,
  eventsIn,
  type Fields,
  nowSeconds,
  OPENID,
  PLAIN,
  plainPush,
  type Query,
  SAFE,
  safePush,
  send,
  sign,
  succeeds,
  TOKEN,
  textMessage,
  xml
} from './pushes.ts'

const REFUSED = 'refused'
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
    content: id,
    lowPriority: true
  })
  const message = textMessage()
  const id = `msg_${APPID}_${message.MsgId}`
  t.equal(await app.events.recorder.record(recordedBefore(message, id)), 'recorded')
  succeeds(t, await send(app, safePush(json(message))))
  t.same(await idsIn(app), [id])

  const ours = textMessage()
  succeeds(t, await send(app, safePush(json(ours))))
  // It answers success to everything that is not recorded.
  t.not(await app.events.recorder.record(recordedBefore(ours, `msg_${APPID}_${ours.MsgId}`)), 'recorded')
  t.equal((await eventsIn(app)).length, 2)
})

const checkOf = (query: Query, echostr = '4375120948345356249'): Query => ({ ...query, echostr })

const check = (app: FastifyInstance, query: Query): Promise<Answer> =>
  app.inject({ url: `/wechat/push/${APPID}?${new URLSearchParams(query)}` })

const signedQuery = (timestamp = String(nowSeconds()), nonce = '151471149'): Query => ({
  signature: sign(TOKEN, timestamp, nonce),
  timestamp,
  nonce
})

t.test('in plain mode the query of a URL check carries no message', async (t) => {
  let clock = Date.now()
  const { app, another, logs } = await build(t, { env: PLAIN, now: () => clock })
  const other = await another()
  const query = signedQuery()
  answers(t, await check(app, checkOf(query)), 200, '4375120948345356249')
  const bodies = [
    json(textMessage()),
    xml(textMessage()),
    json(eventMessage('xpay_goods_deliver_notify')),
    json(eventMessage('user_authorization_cancellation', { OpenID: OPENID })),
    '{"a":1}',
    '',
    '<xml>'
  ]
  const queries = [
    query,
    checkOf(query),
    { ...query, openid: OPENID },
    { ...query, encrypt_type: 'aes', msg_signature: query.signature ?? '' },
    Object.fromEntries(Object.entries(query).reverse())
  ]
  const faces = new Set<string>()
  for (const instance of [app, other])
    for (const body of bodies)
      for (const some of queries) faces.add(faceOf(await send(instance, { query: some, body })))
  clock += 20 * 3600_000
  for (const body of bodies) faces.add(faceOf(await send(other, { query, body })))
  t.match([...faces], [/^\[403,"refused"/])
  t.equal(faces.size, 1)
  t.same(await eventsIn(app), [])
  t.same((await app.callbacks.quarantine.list({ limit: 10 })).items, [])
  t.match(logs(), '"reason":"replay"')

  // The console may ask again, and get another word back.
  for (const instance of [app, other])
    for (const echostr of ['1', '4375120948345356249'])
      answers(t, await check(instance, checkOf(query, echostr)), 200, echostr)
  clock -= 20 * 3600_000
  succeeds(t, await send(app, plainPush(json(textMessage()))))
})

t.test('a query whose timestamp and nonce change places is the same query', async (t) => {
  const { app } = await build(t, { env: PLAIN })
  const timestamp = String(nowSeconds())
  const swapped = {
    ...signedQuery(timestamp, String(nowSeconds() + 60)),
    timestamp: String(nowSeconds() + 60),
    nonce: timestamp
  }
  answers(t, await check(app, checkOf(signedQuery(timestamp, swapped.timestamp))), 200, '4375120948345356249')
  answers(t, await send(app, { query: swapped, body: json(textMessage()) }), 403, REFUSED)
})

t.test('the query of a message is good for no URL check, and of both at once one is served', async (t) => {
  const { app, another } = await build(t, { env: PLAIN })
  const other = await another()
  const push = plainPush(json(textMessage()))
  succeeds(t, await send(app, push))
  answers(t, await check(other, checkOf(push.query)), 403, REFUSED)
  for (let round = 0; round < 20; round++) {
    const { query, body } = plainPush(json(textMessage()))
    const both = await Promise.all([check(app, checkOf(query)), send(other, { query, body })])
    t.same(both.map(({ statusCode }) => statusCode).sort(), [200, 403])
  }
})

t.test('a URL check that is not WeChat’s uses nothing up', async (t) => {
  const { app } = await build(t, { env: PLAIN })
  const push = plainPush(json(textMessage()))
  const wrong: Query[] = [
    { ...push.query, echostr: '' },
    { ...push.query, echostr: '1', signature: sign('other', '1', '2') },
    { ...push.query, echostr: '1', timestamp: '1' }
  ]
  for (const query of wrong) answers(t, await check(app, query), 403, REFUSED)
  answers(t, await app.inject({ url: `/wechat/push/${OTHER_APPID}`, query: checkOf(push.query) }), 403, REFUSED)
  t.equal(
    (await app.inject({ method: 'HEAD', url: `/wechat/push/${APPID}`, query: checkOf(push.query) })).statusCode,
    404
  )
  succeeds(t, await send(app, push))
})

t.test('without Redis a URL check is answered where bodies are signed, and else 503', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const plain = await build(t, { env: PLAIN, redis })
  const safe = await build(t, { env: SAFE, redis })
  const closed = [plain, safe].map(({ app }) => once(app.redis, 'close'))
  redis.kill()
  await Promise.all(closed)
  const query = signedQuery()
  answers(t, await check(safe.app, checkOf(query, '7')), 200, '7')
  const answer = await check(plain.app, checkOf(query, '7'))
  answers(t, answer, 503, REFUSED)
  t.equal(answer.headers['retry-after'], '1')
  t.match(plain.logs(), '"code":"REDIS_UNAVAILABLE"')
  await redis.restart()
  await settled(plain.app.redis, 5000)
  answers(t, await check(plain.app, checkOf(query, '7')), 200, '7')
  answers(t, await send(plain.app, { query, body: json(textMessage()) }), 403, REFUSED)
})

t.test('where bodies are signed the query of a URL check stays free', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const at = { timestamp: nowSeconds(), nonce: '151471149' }
  answers(t, await check(app, checkOf(signedQuery(String(at.timestamp)), '7')), 200, '7')
  succeeds(t, await send(app, safePush(json(textMessage()), at)))
  t.same(await app.redis.keys(app.keys.pushQuery(APPID, '*').replaceAll(/[{}]/g, '?')), [])
})

const CANCELLATION = 'user_authorization_cancellation'
const gone = (OpenID: unknown, change: Fields = {}) =>
  eventMessage(CANCELLATION, { FromUserName: 'oPlatform', OpenID, AppID: APPID, ...change })

t.test('a deleted account has no session and no key left, on any instance, and is told', async (t) => {
  for (const [env, pack] of [
    [PLAIN, plainPush],
    [SAFE, safePush]
  ] as const) {
    for (const write of [json, xml]) {
      const world = await build(t, { env: { ...env, ROLES: 'api,worker' } })
      const { app, another, sandbox, backend } = world
      const other = await another()
      const user = await logIn(app, sandbox)
      const second = await logIn(app, sandbox, user.openid)
      const stranger = await logIn(app, sandbox)
      const counted = app.keys.window(`phone-codes:${APPID}:${user.openid}`)
      await app.redis.set(counted, 3)
      const message = gone(user.openid)
      for (const _ of ['the first time', 'a repeat']) succeeds(t, await send(app, pack(write(message))))
      for (const { headers } of [user, second])
        t.match((await other.inject({ url: '/api/session', headers })).json(), { code: 'SESSION_REVOKED' })
      const refresh = {
        method: 'POST',
        url: '/api/token/refresh',
        payload: { refreshToken: user.refreshToken }
      } as const
      t.equal((await other.inject(refresh)).statusCode, 401)
      const { keys, redis } = app
      t.equal(await redis.exists(keys.sessions(APPID, user.openid), keys.sessionKeys(APPID, user.openid), counted), 0)
      t.equal((await other.inject({ url: '/api/session', headers: stranger.headers })).statusCode, 200)
      const event = await backend.waitFor(({ accepted }) => accepted)
      t.match(event, { type: 'message.received', data: { openid: user.openid, event: CANCELLATION } })
      t.equal((await eventsIn(app)).length, 1)
      // The account is deleted, but the person may come back.
      const again = await logIn(app, sandbox, user.openid)
      t.equal((await other.inject({ url: '/api/session', headers: again.headers })).statusCode, 200)
    }
  }
})

t.test('nothing else ends sessions: other events, other apps, other people, forgers', async (t) => {
  const { app, sandbox } = await build(t, { env: SAFE })
  const { openid, headers } = await logIn(app, sandbox)
  const right = safePush(json(gone(openid)))
  const harmless: Record<string, Fields> = {
    revoke: eventMessage('user_authorization_revoke', { OpenID: openid, RevokeInfo: '8' }),
    modified: eventMessage('user_info_modified', { OpenID: openid }),
    'a text': textMessage({ Event: CANCELLATION, OpenID: openid, Content: CANCELLATION }),
    'a longer name': eventMessage(`${CANCELLATION}2`, { OpenID: openid }),
    'no OpenID': gone(undefined, { FromUserName: openid }),
    'an empty one': gone('', { FromUserName: openid }),
    'another one': gone(`${openid}x`, { FromUserName: openid }),
    'one that is no openid': gone(`${openid}}:k`),
    'one with a pattern': gone('*'),
    'an object': gone({ a: openid }),
    'a very long one': gone('o'.repeat(10_000))
  }
  for (const [name, message] of Object.entries(harmless)) {
    succeeds(t, await send(app, safePush(json(message))))
    t.equal((await app.inject({ url: '/api/session', headers })).statusCode, 200, name)
  }
  t.equal((await eventsIn(app)).length, Object.keys(harmless).length)
  const forged = [
    plainPush(json(gone(openid))),
    { query: { ...right.query, msg_signature: sign('other', '1') }, body: right.body },
    safePush(json(gone(openid)), { appid: OTHER_APPID }),
    safePush(json(gone(openid)), { timestamp: nowSeconds() - 700 })
  ]
  for (const push of forged) answers(t, await send(app, push), 403, REFUSED)
  t.equal((await app.inject({ url: '/api/session', headers })).statusCode, 200)
  succeeds(t, await send(app, right))
  t.equal((await app.inject({ url: '/api/session', headers })).statusCode, 401)
})

t.test('an erasure that fails is no success, and the repeat makes up for it', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app, sandbox, logs } = await build(t, { env: SAFE, redis })
  const { openid, headers } = await logIn(app, sandbox)
  const message = json(gone(openid))
  await app.redis.acl('SETUSER', 'default', '-del', '-unlink')
  const answer = await send(app, safePush(message))
  t.ok(answer.statusCode >= 500)
  t.equal(answer.body, REFUSED)
  t.match(logs(), '"verdict":"failed"')
  t.equal((await eventsIn(app)).length, 1, 'the event is recorded')
  await app.redis.acl('SETUSER', 'default', '+@all')
  succeeds(t, await send(app, safePush(message)))
  t.equal((await app.inject({ url: '/api/session', headers })).statusCode, 401)
  t.equal((await eventsIn(app)).length, 1)
  t.match(logs(), '"verdict":"duplicate"')
  t.notMatch(logs(), openid)
})
