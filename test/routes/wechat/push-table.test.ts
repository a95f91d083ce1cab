/** The endpoint for message push: its answer to each situation, row by row of docs/wechat/mini-program.md 9.2. */
import { hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { APPID, build, OTHER_APPID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { faceOf } from './faces.ts'
import {
  AES_KEY,
  answers,
  encrypt,
  encryptBytes,
  eventMessage,
  eventsIn,
  GH,
  JSON_TYPE,
  nowSeconds,
  OPENID,
  PLAIN,
  type Push,
  plainPush,
  type Query,
  SAFE,
  safePush,
  sealed,
  send,
  sign,
  succeeds,
  TEXT,
  TOKEN,
  textMessage,
  XML_TYPE,
  xml
} from './pushes.ts'

const REFUSED = 'refused'
const json = JSON.stringify

interface Crypt {
  getSignature(timestamp: string, nonce: string, encrypted: string): string
  decrypt(encrypted: string): { message: string; id: string }
}
const WXBizMsgCrypt: new (token: string, aesKey: string, appid: string) => Crypt = createRequire(import.meta.url)(
  'wechat-crypto'
)

t.test('row 1: a right URL check gets its echostr, exactly, in every mode', async (t) => {
  for (const env of [PLAIN, SAFE]) {
    const { app, logs } = await build(t, { env })
    for (const echostr of ['4375120948345356249', '<b>&"', '{"a":1}', ' x+y/z= ']) {
      const query = {
        signature: sign(TOKEN, '1714036504', '1514711492'),
        timestamp: '1714036504',
        nonce: '1514711492',
        echostr
      }
      const answer = await app.inject({ url: `/wechat/push/${APPID}`, query })
      answers(t, answer, 200, echostr)
      t.equal(answer.headers['x-content-type-options'], 'nosniff')
    }
    t.match(logs(), '"verdict":"checked"')
    t.notMatch(logs(), TOKEN)
  }
})

t.test('row 2: any other URL check is refused with one face', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const good: Query = {
    signature: sign(TOKEN, '1714036504', '15147'),
    timestamp: '1714036504',
    nonce: '15147',
    echostr: '4'
  }
  const without = (name: string) => Object.entries(good).filter(([other]) => other !== name)
  const named: [string, string][][] = Object.keys(good).flatMap((name) => {
    const others = without(name)
    return [others, [...others, [name, '']], [...Object.entries(good), [name, good[name] ?? '']]]
  })
  const changed: Query[] = [
    { signature: good.signature?.toUpperCase() ?? '' },
    { signature: sign('other', '1714036504', '15147') },
    { timestamp: '1714036505' },
    { timestamp: '171403650', nonce: '415147', signature: sign(TOKEN, '171403650', '415147') }
  ]
  const wrong: [appid: string, query: [string, string][]][] = [
    ...[[], ...named, ...changed.map((change) => Object.entries({ ...good, ...change }))].map(
      (query): [string, [string, string][]] => [APPID, query]
    ),
    [OTHER_APPID, Object.entries(good)],
    ['wx', Object.entries(good)]
  ]
  const faces = new Set<string>()
  for (const [appid, query] of wrong) {
    const answer = await app.inject({ url: `/wechat/push/${appid}?${new URLSearchParams(query)}` })
    answers(t, answer, 403, REFUSED)
    faces.add(faceOf(answer))
  }
  t.equal(faces.size, 1)
})

t.test('row 3: a right push is stored and delivered in each mode and format', async (t) => {
  const worker = { ROLES: 'api,worker' }
  const message = textMessage({ Content: '你好 <b>&]] ' })
  const stranger = { ...message, Content: 'forged' }
  const pushes: [object, Push][] = [
    [PLAIN, plainPush(json(message))],
    [PLAIN, plainPush(xml(message))],
    [SAFE, safePush(json(message))],
    [SAFE, safePush(xml(message))],
    [SAFE, safePush(json(message), {}, `${json(stranger).slice(1, -1)},`)],
    [
      SAFE,
      safePush(xml(message), {}, xml({ ...stranger, ToUserName: undefined }).replace(/<.?xml>|<ToUserName>.*\n/g, ''))
    ]
  ]
  for (const [index, [env, push]] of pushes.entries()) {
    const { app, backend } = await build(t, { env: { ...env, ...worker } })
    succeeds(t, await send(app, push))
    const delivered = await backend.waitFor(({ accepted }) => accepted)
    t.match(delivered, {
      id: `msg_${APPID}_${message.MsgId}`,
      type: 'message.received',
      timestamp: '2024-04-26T06:20:45.000Z'
    })
    const raw = index % 2 === 0 ? message : { ...message, CreateTime: '1714112445' }
    t.same(delivered.data, {
      appid: APPID,
      openid: OPENID,
      msgType: 'text',
      createTime: '2024-04-26T06:20:45.000Z',
      raw
    })
  }
})

t.test('row 3: unknown types and events are stored too, and ids beyond 2^53 are whole', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const bodies = [
    '{"MsgType":"hologram","FromUserName":"o1","CreateTime":"1620973045",' +
      '"MsgId":23456789012345678,"Big":[9007199254740993]}',
    '{"MsgType":"event","Event":"never_heard_of","FromUserName":"platform","CreateTime":1620973046,"OpenID":"o2"}',
    '{"MsgType":"event","Event":"bare"}'
  ]
  for (const body of bodies) succeeds(t, await send(app, safePush(body)))
  const [hologram, event, bare] = await eventsIn(app)
  t.match(hologram, {
    id: `msg_${APPID}_23456789012345678`,
    data: { openid: 'o1', msgType: 'hologram', raw: { MsgId: '23456789012345678', Big: ['9007199254740993'] } }
  })
  t.match(event, {
    id: /_[0-9a-f]{32}$/,
    data: { openid: 'o2', event: 'never_heard_of', raw: { FromUserName: 'platform' } }
  })
  t.match(bare, { data: { openid: '', event: 'bare' } })
})

t.test('row 3: a list of one entry is an object, of several an array, in XML and JSON alike', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const entry = (id: string) => ({ TemplateId: id, SubscribeStatusString: 'accept', PopupScene: '2' })
  const lists = [entry('a'), [entry('a'), entry('b')]]
  for (const [index, List] of lists.entries()) {
    const event = eventMessage('subscribe_msg_popup_event', { CreateTime: 1714112445 + index })
    succeeds(t, await send(app, safePush(json({ ...event, List }))))
    succeeds(t, await send(app, safePush(xml({ ...event, SubscribeMsgPopupEvent: { List } }))))
  }
  const raws = (await eventsIn(app)).map(({ data }) => data.raw.List ?? data.raw.SubscribeMsgPopupEvent.List)
  t.same(new Set(raws.map((raw) => json(raw))), new Set(lists.map((list) => json(list))))
  t.equal(raws.length, 4)
})

t.test('row 3: transfer to customer service where the settings ask for it, encrypted where the push was', async (t) => {
  const transfer = { WECHAT_PUSH_REPLY: 'transfer_customer_service' }
  const message = textMessage()
  const reply = (time: string) => ({
    ToUserName: OPENID,
    FromUserName: GH,
    CreateTime: Number(time),
    MsgType: 'transfer_customer_service'
  })
  const elements = (body: string) =>
    Object.fromEntries(
      [...body.matchAll(/<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|(\d+))<\/\1>/g)].map(([, name, text, number]) => [
        name,
        text ?? Number(number)
      ])
    )
  const clock = 1714112460_000
  const at = { timestamp: 1714112450 }
  const time = '1714112460'

  const plain = await build(t, { env: { ...PLAIN, ...transfer }, now: () => clock })
  answers(t, await send(plain.app, plainPush(json(message), at)), 200, json(reply(time)), JSON_TYPE)
  const inXml = await send(plain.app, plainPush(xml(message), at))
  answers(t, inXml, 200, inXml.body, XML_TYPE)
  t.match(inXml.body, `<CreateTime>${time}</CreateTime>`)
  t.same(elements(inXml.body), reply(time))
  succeeds(t, await send(plain.app, plainPush(json(eventMessage('user_enter_tempsession')), at)))

  const safe = await build(t, { env: { ...SAFE, ...transfer }, now: () => clock })
  const other = new WXBizMsgCrypt(TOKEN, AES_KEY, APPID)
  const [jsonPush, xmlPush] = [safePush(json(message), at), safePush(xml(message), at)]
  // The second time too: the answer to the first may have been lost.
  for (const _ of [1, 2]) {
    const answer = await send(safe.app, jsonPush)
    t.match(answer.headers, { 'content-type': JSON_TYPE })
    const { Encrypt, MsgSignature, TimeStamp, Nonce, ...rest } = answer.json()
    t.same([TimeStamp, Nonce, rest], [Number(time), jsonPush.query.nonce, {}])
    t.equal(MsgSignature, sign(TOKEN, time, Nonce, Encrypt))
    t.same(JSON.parse(other.decrypt(Encrypt).message), reply(time))
    t.equal(other.decrypt(Encrypt).id, APPID)
  }
  const answer = await send(safe.app, xmlPush)
  t.match(answer.headers, { 'content-type': XML_TYPE })
  t.match(answer.body, `<TimeStamp>${time}</TimeStamp>`)
  const { Encrypt, MsgSignature, TimeStamp, Nonce } = elements(answer.body)
  t.same([TimeStamp, Nonce], [Number(time), xmlPush.query.nonce])
  t.equal(MsgSignature, other.getSignature(time, Nonce, Encrypt))
  t.same(elements(other.decrypt(Encrypt).message), reply(time))
  t.equal((await eventsIn(safe.app)).length, 1)
})

t.test('row 3: virtual payment is answered in its own form', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const event = eventMessage('xpay_goods_deliver_notify', { OutTradeNo: 'a', RetryTimes: 0 })
  answers(t, await send(app, safePush(json(event))), 200, '{"ErrCode":0,"ErrMsg":"success"}', JSON_TYPE)
  const asXml = '<xml><ErrCode>0</ErrCode><ErrMsg><![CDATA[success]]></ErrMsg></xml>'
  answers(t, await send(app, safePush(xml(event))), 200, asXml, XML_TYPE)
})

t.test('row 4: what was seen before gets the same answer and makes no second event', async (t) => {
  const { app, another, logs } = await build(t, { env: SAFE })
  const both = [app, await another()]
  const message = textMessage()
  const event = eventMessage('debug_demo')
  const all = Array.from({ length: 40 }, (_, index) => safePush(json(index % 4 < 2 ? message : event)))
  for (const answer of await Promise.all(all.map((push, index) => send(both[index % 2] ?? app, push))))
    succeeds(t, answer)
  t.same((await eventsIn(app)).map(({ data }) => data.msgType).sort(), ['event', 'text'])

  const pay = eventMessage('xpay_refund_notify', { FromUserName: 'platform', MchRefundId: 'r1' })
  const tries = [0, 1, 14].map((RetryTimes) => ({ ...pay, RetryTimes }))
  for (const fields of [...tries, { ...pay, MchRefundId: 'r2' }])
    t.match((await send(app, safePush(json(fields)))).json(), { ErrCode: 0 })
  t.equal((await eventsIn(app)).length, 4)
  t.match(logs(), '"verdict":"duplicate"')
  for (const secret of [OPENID, 'hello', TOKEN, AES_KEY, 'r1']) t.notMatch(logs(), secret)
})

t.test('row 5: whoever is not WeChat is shown one face, and leaves nothing behind', async (t) => {
  const { app, logs } = await build(t, { env: SAFE })
  const message = json(textMessage())
  const good = safePush(message)
  const { query, body } = good
  const envelope = JSON.parse(body)
  const of = (change: Query): Push => ({ query: { ...query, ...change }, body })
  const without = (name: string): Push => ({
    query: Object.fromEntries(Object.entries(query).filter(([n]) => n !== name)),
    body
  })
  const plain = plainPush(message)
  const timed = (timestamp: number) => safePush(message, { timestamp })
  const tail = (size: number) => Buffer.concat([Buffer.alloc(19), Buffer.from([size]), Buffer.from(`x${APPID}`)])
  const forgeries: Record<string, Push> = {
    'another token': {
      query: { ...query, msg_signature: sign('other', query.timestamp ?? '', query.nonce ?? '', envelope.Encrypt) },
      body
    },
    'signature in place of msg_signature': of({ msg_signature: query.signature ?? '' }),
    'msg_signature in upper case': of({ msg_signature: query.msg_signature?.toUpperCase() ?? '' }),
    'no msg_signature': without('msg_signature'),
    'no timestamp': without('timestamp'),
    'no nonce': without('nonce'),
    'no encrypt_type': without('encrypt_type'),
    'encrypt_type raw': of({ encrypt_type: 'raw' }),
    'a plain push': plain,
    'a plain push that says aes': { ...plain, query: { ...query, ...plain.query } },
    'Encrypt empty': { query, body: json({ ...envelope, Encrypt: '' }) },
    'Encrypt a list': { query, body: json({ ...envelope, Encrypt: [envelope.Encrypt] }) },
    'Encrypt of another push': { query, body: safePush(message).body },
    'Encrypt twice': {
      query,
      body: `<xml><Encrypt>${envelope.Encrypt}</Encrypt><Encrypt>${envelope.Encrypt}</Encrypt></xml>`
    },
    DOCTYPE: {
      query,
      body: `<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Encrypt>${envelope.Encrypt}</Encrypt></xml>`
    },
    'DOCTYPE inside': safePush(`<!DOCTYPE xml><xml><MsgType>text</MsgType></xml>`),
    'neither XML nor JSON': { query, body: `Encrypt=${envelope.Encrypt}` },
    empty: { query, body: '' },
    'for another app': safePush(message, { appid: OTHER_APPID }),
    'for no app': safePush(message, { appid: '' }),
    'for an app that begins alike': safePush(message, { appid: `${APPID}0` }),
    'random bytes': sealed(randomBytes(96).toString('base64'), {}, 'json'),
    'not whole blocks': sealed(randomBytes(50).toString('base64'), {}, 'json'),
    'no base64': sealed('!'.repeat(64), {}, 'json'),
    'a length beyond the end': sealed(encryptBytes(tail(255)), {}, 'json'),
    'padding of 33': sealed(encryptBytes(Buffer.alloc(31), Buffer.alloc(33, 33)), {}, 'json'),
    'padding of 0': sealed(encryptBytes(Buffer.alloc(31), Buffer.alloc(1)), {}, 'json'),
    'padding that differs': sealed(encryptBytes(Buffer.alloc(30), Buffer.from([1, 2])), {}, 'json'),
    'too old': timed(nowSeconds() - 700),
    'ahead of its time': timed(nowSeconds() + 700),
    'xpay ahead of its time': safePush(json(eventMessage('xpay_coin_pay_notify')), { timestamp: nowSeconds() + 700 }),
    'a time of nine digits': timed(171403650)
  }
  const faces = new Set<string>()
  for (const [name, push] of Object.entries(forgeries)) {
    t.comment(name)
    const answer = await send(app, push)
    answers(t, answer, 403, REFUSED)
    faces.add(faceOf(answer))
  }
  for (const appid of [OTHER_APPID, 'wx0000000000000000', 'x']) faces.add(faceOf(await send(app, good, appid)))
  for (const parameter of Object.entries(query))
    faces.add(faceOf(await send(app, { query: `${new URLSearchParams([...Object.entries(query), parameter])}`, body })))
  const zipped = {
    method: 'POST',
    url: `/wechat/push/${APPID}`,
    query,
    payload: body,
    headers: { 'content-encoding': 'gzip' }
  } as const
  faces.add(faceOf(await app.inject(zipped)))
  t.equal(faces.size, 1)
  t.same(await eventsIn(app), [])
  for (const reason of ['appid', 'query', 'signature', 'downgrade', 'encryption', 'format', 'timestamp', 'encoding'])
    t.match(logs(), `"reason":"${reason}"`)
  succeeds(t, await send(app, good))
})

t.test('row 5: an app without a push token takes nothing', async (t) => {
  const { app } = await build(t)
  answers(t, await send(app, plainPush(json(textMessage()))), 403, REFUSED)
  answers(t, await app.inject({ url: `/wechat/push/${APPID}` }), 403, REFUSED)
})

t.test('row 5: each of several apps has keys of its own', async (t) => {
  const { secrets, another } = await build(t, { env: PLAIN })
  const apps = [
    { appid: APPID, secret: secrets.appSecret, pushToken: TOKEN, pushAesKey: AES_KEY },
    { appid: OTHER_APPID, secret: secrets.otherAppSecret, pushToken: TOKEN }
  ]
  const file = `${t.testdir({ 'wechat.json': json({ apps }) })}/wechat.json`
  const one = { WECHAT_APPID: undefined, WECHAT_SECRET: undefined, WECHAT_PUSH_TOKEN: undefined }
  const app = await another({
    ...one,
    WECHAT_CONFIG_FILE: file,
    WECHAT_PAY_MCHID: undefined,
    WECHAT_PAY_API_V2_KEY: undefined
  })
  const message = json(textMessage())
  answers(t, await send(app, safePush(message), OTHER_APPID), 403, REFUSED)
  answers(t, await send(app, plainPush(message)), 403, REFUSED)
  succeeds(t, await send(app, plainPush(message), OTHER_APPID))
  succeeds(t, await send(app, safePush(message)))
  const ids = (await eventsIn(app)).map(({ id }) => id.slice(4, 22))
  t.same(ids, [OTHER_APPID, APPID])
})

t.test('row 5: the query of a plain push is good for one message only, however late', async (t) => {
  let clock = Date.now()
  const { app, another } = await build(t, { env: PLAIN, now: () => clock })
  const push = plainPush(json(textMessage()))
  const forged = { ...push, body: json(textMessage({ Content: 'forged' })) }
  const forgedPay = { ...push, body: json(eventMessage('xpay_goods_deliver_notify')) }
  succeeds(t, await send(app, push))
  for (const instance of [app, await another()]) {
    answers(t, await send(instance, forged), 403, REFUSED)
    answers(t, await send(instance, forgedPay), 403, REFUSED)
    succeeds(t, await send(instance, push))
  }
  clock += 3600_000
  answers(t, await send(app, forgedPay), 403, REFUSED)
  clock += 48 * 3600_000
  const [name = ''] = await app.redis.keys('*:push:*')
  t.ok((await app.redis.ttl(name)) > 86_400 + 600, 'known for longer than it could be used')
  await app.redis.del(name)
  answers(t, await send(app, forgedPay), 403, REFUSED)
  t.equal((await eventsIn(app)).length, 1)
})

t.test('row 5: virtual payment may be hours late, in plain mode a day, everything else ten minutes', async (t) => {
  const clock = 1714112445_000
  const ago = (seconds: number) => ({ timestamp: 1714112445 - seconds })
  const pay = (id: number) => json(eventMessage('xpay_goods_deliver_notify', { OutTradeNo: id }))
  const plain = await build(t, { env: PLAIN, now: () => clock })
  const safe = await build(t, { env: SAFE, now: () => clock })
  for (const [seconds, status] of [
    [600, 200],
    [601, 403],
    [-600, 200],
    [-601, 403]
  ] as const) {
    t.equal((await send(plain.app, plainPush(json(textMessage()), ago(seconds)))).statusCode, status)
    t.equal((await send(safe.app, safePush(json(textMessage()), ago(seconds)))).statusCode, status)
  }
  t.equal((await send(plain.app, plainPush(pay(1), ago(86_400)))).statusCode, 200)
  t.equal((await send(plain.app, plainPush(pay(2), ago(86_401)))).statusCode, 403)
  t.equal((await send(safe.app, safePush(pay(3), ago(20 * 86_400)))).statusCode, 200)
  t.equal((await send(safe.app, safePush(pay(4), ago(31 * 86_400)))).statusCode, 200)
  t.equal((await send(safe.app, safePush(pay(5), ago(31 * 86_400 + 1)))).statusCode, 403, 'a repeat would be an event')
})

t.test('row 5: in compatible mode without a key the plain fields count, and the ciphertext is left out', async (t) => {
  const { app } = await build(t, { env: PLAIN })
  const message = textMessage()
  const beside = `${json(message).slice(1, -1)},`
  const [first, second] = [safePush(json(message), {}, beside), safePush(json(message), {}, beside)]
  succeeds(t, await send(app, first))
  succeeds(t, await send(app, second))
  answers(t, await send(app, safePush(json(message))), 403, REFUSED)
  t.same(
    (await eventsIn(app)).map(({ data }) => data.raw),
    [message]
  )
})

t.test('row 6: a body above 1 MiB is 413, and one of exactly that is read', async (t) => {
  const { app, logs } = await build(t, { env: SAFE })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  for (const headers of [{ 'content-length': 1024 * 1024 + 1 }, { 'transfer-encoding': 'chunked' }]) {
    const big = request({ port, method: 'POST', path: `/wechat/push/${APPID}`, headers })
    big.on('error', () => undefined)
    big.end(Buffer.alloc(1024 * 1024 + 1, 'x'))
    const [answer] = (await once(big, 'response')) as [IncomingMessage]
    t.match(answer, { statusCode: 413, headers: { 'content-type': TEXT } })
    t.equal(await text(answer), REFUSED)
  }
  t.match(logs(), '"code":"FST_ERR_CTP_BODY_TOO_LARGE"')
  const room = Math.floor(((1024 * 1024 - 100) * 3) / 4 / 32) * 32 - 300
  const message = textMessage({ Content: 'x'.repeat(room) })
  succeeds(t, await send(app, safePush(json(message))))
  answers(t, await send(app, { ...safePush(''), body: ' '.repeat(1024 * 1024) }), 403, REFUSED)
})

t.test('row 7: Redis away is 503, for virtual payment in its own form, and what comes again is stored', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const safe = await build(t, { env: SAFE, redis })
  const plain = await build(t, { env: PLAIN, redis })
  const event = eventMessage('xpay_goods_deliver_notify')
  const pushes: [app: typeof safe.app, push: Push, body: string, contentType: string][] = [
    [safe.app, safePush(json(textMessage())), REFUSED, TEXT],
    [plain.app, plainPush(json(textMessage())), REFUSED, TEXT],
    [safe.app, safePush(json({ ...event, OutTradeNo: 'a' })), '{"ErrCode":-1,"ErrMsg":"busy"}', JSON_TYPE],
    [
      plain.app,
      plainPush(xml({ ...event, OutTradeNo: 'b' })),
      '<xml><ErrCode>-1</ErrCode><ErrMsg><![CDATA[busy]]></ErrMsg></xml>',
      XML_TYPE
    ]
  ]
  const closed = [safe, plain].map(({ app }) => once(app.redis, 'close'))
  redis.kill()
  await Promise.all(closed)
  for (const [app, push, body, contentType] of pushes) {
    const answer = await send(app, push)
    answers(t, answer, 503, body, contentType)
    t.equal(answer.headers['retry-after'], '1')
  }
  t.match(safe.logs(), '"verdict":"failed"')
  t.match(safe.logs(), '"code":"REDIS_UNAVAILABLE"')
  answers(t, await send(safe.app, plainPush('{}')), 403, REFUSED)

  await redis.restart()
  for (const { app } of [safe, plain]) await settled(app.redis, 5000)
  for (const [app, push] of pushes) t.equal((await send(app, push)).statusCode, 200)
  t.equal((await eventsIn(safe.app)).length + (await eventsIn(plain.app)).length, pushes.length)
})

t.test('row 7: the unforeseen is 500 with the same words, and nothing of the message in the log', async (t) => {
  const { app, logs } = await build(t, { env: SAFE })
  app.events.recorder.record = async ({ data }) => {
    throw new TypeError(`cannot read ${json(data)}`)
  }
  answers(t, await send(app, safePush(json(textMessage()))), 500, REFUSED)
  t.match(logs(), '"code":"INTERNAL"')
  t.notMatch(logs(), OPENID)
})

t.test('row 8: success waits for Redis alone, not for a backend that never answers', async (t) => {
  const called = Promise.withResolvers<ServerResponse>()
  const { origin } = await listenFor(t, (_request, response) => called.resolve(response))
  const { app } = await build(t, { env: { ...SAFE, ROLES: 'api,worker', WEBHOOK_URL: `${origin}/webhooks` } })
  succeeds(t, await send(app, safePush(json(textMessage()))))
  const waiting = await called.promise
  t.equal((await eventsIn(app)).length, 1)
  waiting.end()
})

t.test('docs/events.md shows what is delivered', async (t) => {
  const page = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8')
  const examples = [...page.matchAll(/^```json\n(.*?)^```$/gms)].map(([, example = '']) => JSON.parse(example))
  const [shown] = examples.filter(({ type }) => type === 'message.received')
  const { app } = await build(t, { env: SAFE })
  succeeds(t, await send(app, safePush(json(shown.data.raw))))
  t.same(
    (await eventsIn(app)).map(({ id: _, ...event }) => event),
    [shown]
  )
})

t.test('other methods are no way in', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const { query, body } = safePush(json(textMessage()))
  for (const method of ['HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
    t.equal((await app.inject({ method, url: `/wechat/push/${APPID}`, query, payload: body })).statusCode, 404, method)
  t.same(await eventsIn(app), [])
})

t.test('the door tells its log the bytes it got, not what is in them', async (t) => {
  const { app, logs } = await build(t, { env: SAFE })
  const push = safePush(json(eventMessage('debug_demo', { debug_str: 'secret words' })))
  succeeds(t, await send(app, push))
  t.match(logs(), `"sha256":"${hash('sha256', push.body)}"`)
  t.match(logs(), /"kind":"debug_demo","webhookId":"msg_wx0123456789abcdef_[0-9a-f]{32}"/)
  for (const secret of ['secret words', OPENID, encrypt(''), push.query.msg_signature ?? '']) t.notMatch(logs(), secret)
})
