/**
 * The sandbox's message push, read with libraries that share nothing with it: node:crypto, wechat-crypto and
 * fast-xml-parser.
 */
import { createHash, randomInt } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import { XMLParser } from 'fast-xml-parser'
import t, { type Test } from 'tap'
import { MESSAGE_KINDS } from '../../sandbox/acts/push-message.ts'
import type { PushInput, PushResult } from '../../sandbox/index.ts'
import { decryptPush, encryptPush, pushSignature } from '../../sandbox/wire/push-crypt.ts'
import { listenFor } from '../listen.ts'
import { vectors } from '../vectors.ts'
import { type Crypt, WXBizMsgCrypt } from '../wechat-crypto.ts'
import { APPID, build, type Json, OTHER_APPID, postJson, SECRET } from './client.ts'

const TOKEN = 'AToken2025'
/** As in the official demo, its last two bits are not zero. */
const AES_KEY = 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG'
const OPENID = 'o9AgO5Kd5ggOC-bXrbNODIiE3bGY'
const GH = 'gh_97417a04a28d'
const NOW = '1735689600'

const MODES = ['plain', 'compatible', 'safe'] as const
const FORMATS = ['json', 'xml'] as const

const crypt = new WXBizMsgCrypt(TOKEN, AES_KEY, APPID)
const sha1 = (...parts: string[]) => createHash('sha1').update(parts.sort().join('')).digest('hex')

interface Received {
  method: string
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  body: string
}

type Respond = (received: Received, number: number) => { status?: number; body: string }

/** A sandbox that pushes to a server, which keeps what comes and answers as told. */
async function world(t: Test, respond: Respond = () => ({ body: 'success' })) {
  const received: Received[] = []
  const { origin } = await listenFor(t, async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
    const { method = '', headers } = request
    const one = { method, path: pathname, query: searchParams, headers, body: await text(request) }
    const { status = 200, body } = respond(one, received.push(one) - 1)
    response.writeHead(status, { 'content-type': 'text/plain', 'retry-after': '1' }).end(body)
  })
  const settings = { url: `${origin}/push`, token: TOKEN, originalId: GH }
  const { sandbox, advance } = await build(t, {
    apps: [
      { appid: APPID, secret: SECRET, push: { ...settings, aesKey: AES_KEY } },
      { appid: OTHER_APPID, secret: SECRET, push: settings },
      { appid: 'wx0000000000000003', secret: SECRET }
    ]
  })
  const push = (input: Partial<PushInput>) => sandbox.push({ appid: APPID, openid: OPENID, ...input })
  return { sandbox, advance, received, push, origin }
}

const parser = new XMLParser({ parseTagValue: false, trimValues: false, isArray: (name) => name === 'never' })

function parse(body: string): Json {
  if (!body.startsWith('<')) return JSON.parse(body)
  const { xml } = parser.parse(body)
  return withoutLineEnds(xml) as Json
}

/** The parser keeps what stands between elements. */
function withoutLineEnds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutLineEnds)
  if (typeof value !== 'object' || value === null) return value
  const inner = Object.entries(value).filter(([name]) => name !== '#text')
  return Object.fromEntries(inner.map(([name, one]) => [name, withoutLineEnds(one)]))
}

/** The first thing that is wrong with a push, or what it says. `isEncrypted`: the app has a key. */
function open({ query, body }: Received, isEncrypted = true): string {
  const names = [...query.keys()]
  const of = (name: string) => query.get(name) ?? ''
  if (new Set(names).size < names.length) return 'a parameter twice'
  if (Buffer.byteLength(body) > 1024 * 1024) return 'too large'
  if (/<!DOCTYPE/.test(body)) return 'DOCTYPE'
  if (!isEncrypted) return of('signature') === sha1(TOKEN, of('timestamp'), of('nonce')) ? body : 'signature'
  const encrypted = parse(body).Encrypt
  if (of('encrypt_type') !== 'aes' || typeof encrypted !== 'string') return 'not encrypted'
  if (of('msg_signature') !== sha1(TOKEN, of('timestamp'), of('nonce'), encrypted)) return 'signature'
  try {
    const { message, id } = crypt.decrypt(encrypted)
    return id === APPID ? message : 'another app'
  } catch {
    return 'another app'
  }
}

const plainOf = (received: Received | undefined, isEncrypted: boolean): Json =>
  parse(open(received as Received, isEncrypted))

const statusesOf = ({ deliveries }: PushResult) => deliveries.map(({ status }) => status)

t.test('pushSignature(), encryptPush() and decryptPush() reproduce the vectors', async (t) => {
  // biome-ignore lint/suspicious/noExplicitAny: the samples are of many shapes.
  const { officialJson, officialXmlSample, sdkSamples, synthetic } = vectors<Record<string, any>>('message-push')
  const { token, encodingAESKey: aesKey, appid } = officialJson
  const { urlVerification, safeModePush, encryptedReply } = officialJson
  const { timestamp, nonce, signature } = urlVerification.query
  t.equal(pushSignature(token, timestamp, nonce), signature)
  const { msg, random } = safeModePush.decrypted
  t.equal(encryptPush(msg, { aesKey, appid }, Buffer.from(random)), safeModePush.body.Encrypt)
  const reply = encryptPush(encryptedReply.msg, { aesKey, appid }, Buffer.from(encryptedReply.random))
  t.equal(reply, encryptedReply.Encrypt)
  t.equal(
    pushSignature(token, String(encryptedReply.timestamp), encryptedReply.nonce, reply),
    encryptedReply.MsgSignature
  )
  for (const { token, encodingAESKey, Encrypt, query, decrypted } of [officialXmlSample, sdkSamples[0]]) {
    t.equal(pushSignature(token, query.timestamp, query.nonce, Encrypt), query.msg_signature)
    t.match(decryptPush(Encrypt, encodingAESKey), { message: decrypted.msg, appid: decrypted.appid })
  }
  for (const sample of [sdkSamples[1], ...synthetic.slice(0, 2)]) {
    const { msg: message, random, Encrypt } = sample
    const keys = { aesKey: sample.encodingAESKey, appid: sample.appid }
    t.equal(encryptPush(message, keys, Buffer.from(random)), Encrypt, sample.name)
    t.same(decryptPush(Encrypt, keys.aesKey), { message, appid: sample.appid })
  }
  t.equal(synthetic[0].padValue, 32)
  t.throws(() => encryptPush('', { aesKey: 'short', appid }), RangeError)
})

t.test('decryptPush() gives up on what does not fit', async (t) => {
  const whole = Buffer.from(encryptPush('x'.repeat(40), { aesKey: AES_KEY, appid: APPID }), 'base64')
  const wrong = ['', 'AAAA', whole.toString('base64', 0, 32), whole.toString('base64', 0, 50)]
  for (const encrypted of wrong) t.equal(decryptPush(encrypted, AES_KEY), undefined, encrypted)
})

/** Section 5.7 of the protocol: the own fields of each kind. */
const OWN: Record<string, string> = {
  text: 'Content MsgId',
  image: 'PicUrl MediaId MsgId',
  miniprogrampage: 'Title AppId PagePath ThumbUrl ThumbMediaId MsgId',
  user_enter_tempsession: 'SessionFrom',
  subscribe_msg_popup_event: 'List',
  subscribe_msg_change_event: 'List',
  subscribe_msg_sent_event: 'List',
  notify_service_msg_send_result: 'openid notify_code notify_type card_status fail_ret fail_msg',
  wxa_media_check: 'appid trace_id version errcode errmsg result detail',
  user_info_modified: 'OpenID AppID',
  user_authorization_revoke: 'OpenID AppID RevokeInfo',
  user_authorization_cancellation: 'OpenID AppID',
  wxa_punish_event: 'event_type punish_id appid punish_time detail',
  trade_manage_remind_access_api: 'msg',
  trade_manage_remind_shipping: 'transaction_id merchant_id sub_merchant_id merchant_trade_no pay_time msg',
  trade_manage_order_settlement:
    'transaction_id merchant_id sub_merchant_id merchant_trade_no pay_time shipped_time estimated_settlement_time ' +
    'confirm_receive_method confirm_receive_time settlement_time',
  wxa_trade_controlled: 'msg',
  xpay_goods_deliver_notify: 'OpenId OutTradeNo Env WeChatPayInfo GoodsInfo',
  xpay_coin_pay_notify: 'OpenId OutTradeNo Env WeChatPayInfo CoinInfo',
  xpay_refund_notify:
    'OpenId WxRefundId MchRefundId WxOrderId MchOrderId RefundFee RetCode RetMsg RefundStartTimestamp ' +
    'RefundSuccTimestamp WxpayRefundTransactionId RetryTimes',
  xpay_complaint_notify:
    'OpenId WxOrderId MchOrderId TransactionId ComplaintId ComplaintDetail ComplaintTime RetryTimes RequestId',
  xpay_wxpay_callback_notify: 'EventType MerchantCode BusinessCode BusinessState RetryTimes',
  debug_demo: 'debug_str'
}
const CUSTOMER = ['text', 'image', 'miniprogrampage']
const ABOUT_SENDER = /^(text|image|miniprogrampage|user_enter_tempsession|subscribe_msg_.*|debug_demo)$/
const LIST_ELEMENTS: Record<string, string> = {
  subscribe_msg_popup_event: 'SubscribeMsgPopupEvent',
  subscribe_msg_change_event: 'SubscribeMsgChangeEvent',
  subscribe_msg_sent_event: 'SubscribeMsgSentEvent'
}

for (const mode of MODES) {
  for (const format of FORMATS) {
    t.test(`push() sends every kind in ${mode} mode as ${format}, for anybody to read`, async (t) => {
      const { push, received } = await world(t)
      for (const [kind, own] of Object.entries(OWN)) {
        const result = await push({ kind: kind as NonNullable<PushInput['kind']>, mode, format })
        const [delivery] = result.deliveries
        t.match(delivery, { status: 200, accepted: true, body: 'success', headers: { 'retry-after': '1' } })
        const got = received.at(-1) as Received
        t.equal(delivery?.url, `http://${got.headers.host}${got.path}?${got.query}`)
        t.equal(got.headers['content-type'], format === 'xml' ? 'text/xml' : 'application/json')
        const encrypted = ['encrypt_type', 'msg_signature']
        const names = ['signature', 'timestamp', 'nonce', 'openid', ...(mode === 'plain' ? [] : encrypted)]
        t.same([...got.query.keys()].sort(), names.sort())
        t.equal(got.query.get('timestamp'), NOW)
        t.equal(got.query.get('openid'), OPENID)
        t.equal(got.query.get('signature'), sha1(TOKEN, NOW, got.query.get('nonce') ?? ''))
        t.equal(open(got, mode !== 'plain'), result.message, `${kind} says what the result says`)

        const outer = Object.keys(parse(got.body))
        const inner = parse(result.message)
        const fields = Object.keys(inner)
        const bodies = { plain: fields, compatible: [...fields, 'Encrypt'], safe: ['ToUserName', 'Encrypt'] }
        t.same(outer, bodies[mode])

        const isEvent = !CUSTOMER.includes(kind)
        const head = ['ToUserName', 'FromUserName', 'CreateTime', 'MsgType', ...(isEvent ? ['Event'] : [])]
        const listed = format === 'xml' ? own.replace(/^List$/, LIST_ELEMENTS[kind] ?? 'List') : own
        t.same(Object.keys(inner).sort(), [...head, ...listed.split(' ')].sort(), kind)
        t.match(inner, { ToUserName: GH, MsgType: isEvent ? 'event' : kind, ...(isEvent && { Event: kind }) })
        t.equal(String(inner.CreateTime), NOW)
        t.equal(inner.FromUserName === OPENID, ABOUT_SENDER.test(kind), `${kind} comes from`)
        const user = inner.OpenID ?? inner.OpenId ?? inner.openid ?? OPENID
        t.equal(user, OPENID)
      }
      t.equal(received.length, Object.keys(OWN).length)
    })
  }
}

t.test('the kinds that can be asked for are those of the protocol page', async (t) => {
  const { sandbox } = await world(t)
  t.same([...MESSAGE_KINDS].sort(), Object.keys(OWN).sort())
  for (const kind of [...MESSAGE_KINDS, 'url_check'])
    t.match(await postJson(`${sandbox.origin}/sandbox/push`, { appid: APPID, kind }), { deliveries: [{ status: 200 }] })
  t.match(await postJson(`${sandbox.origin}/sandbox/push`, { appid: APPID, kind: 'Text' }), { statusCode: 400 })
})

t.test('numbers are bare, text is in CDATA, and ids of 64 bits are whole', async (t) => {
  const { push } = await world(t)
  const { message: json } = await push({ kind: 'text' })
  const [, id = ''] = /"MsgId":(\d+)\}$/.exec(json) ?? []
  t.equal(id.length, 19)
  t.not(String(Number(id)), id)
  const { message: xml } = await push({ kind: 'text', format: 'xml' })
  t.match(xml, /<CreateTime>1735689600<\/CreateTime>\n/)
  t.match(xml, /<MsgId>\d{19}<\/MsgId><\/xml>$/)
  t.match(xml, `<Content><![CDATA[你好 <b>&]]]]><![CDATA[> "世界"]]></Content>`)
  t.equal(parse(xml).Content, parse(json).Content)
  const { message: event } = await push({ kind: 'subscribe_msg_sent_event' })
  t.match(event, '"CreateTime":"1735689600"')
  const { message: eventXml } = await push({ kind: 'subscribe_msg_sent_event', format: 'xml' })
  t.match(eventXml, '<CreateTime>1735689600</CreateTime>')
  const { message: check } = await push({ kind: 'wxa_media_check', format: 'xml' })
  t.match(parse(check), { detail: [{ strategy: 'content_model' }, { strategy: 'keyword' }], result: { label: '100' } })
})

t.test('List is an object for one template and an array for more', async (t) => {
  const { push } = await world(t)
  for (const [kind, element = ''] of Object.entries(LIST_ELEMENTS) as [NonNullable<PushInput['kind']>, string][]) {
    for (const format of FORMATS) {
      const listIn = (result: PushResult) => {
        const message = parse(result.message)
        return format === 'xml' ? (message[element] as Json).List : message.List
      }
      t.match(listIn(await push({ kind, format, templateIds: ['A'] })), { TemplateId: 'A' })
      t.match(listIn(await push({ kind, format, templateIds: ['A', 'B'] })), [{ TemplateId: 'A' }, { TemplateId: 'B' }])
    }
  }
})

t.test('fields are laid over those of the kind, and a message may be a test’s own', async (t) => {
  const { push, received } = await world(t)
  const fields = { Content: 'hello', MsgId: '12', FromUserName: 'oOther', CreateTime: null, More: { a: [1, 2] } }
  const { message } = await push({ kind: 'text', fields })
  t.same(JSON.parse(message), {
    ToUserName: GH,
    FromUserName: 'oOther',
    MsgType: 'text',
    Content: 'hello',
    MsgId: '12',
    More: { a: [1, 2] }
  })
  const { message: list } = await push({ kind: 'subscribe_msg_popup_event', format: 'xml', fields: { List: { a: 1 } } })
  t.match(parse(list), { SubscribeMsgPopupEvent: { List: { a: '1', TemplateId: 'TEMPLATE_1' } } })
  await push({ message: { MsgType: 'hologram', a: 'b' }, format: 'xml' })
  t.equal(open(received.at(-1) as Received), '<xml><MsgType><![CDATA[hologram]]></MsgType>\n<a><![CDATA[b]]></a></xml>')
  for (const raw of ['<xml><MsgType>text</MsgType></xml>', 'neither', '']) {
    await push({ message: raw })
    t.equal(open(received.at(-1) as Received), raw)
  }
  await t.rejects(push({ message: 'x', kind: 'text' }), { message: /neither a kind nor fields/ })
  await t.rejects(push({ message: {}, fields: {} }), { message: /neither a kind nor fields/ })
})

t.test('tries repeat the message in a new query and a new ciphertext, or byte for byte', async (t) => {
  const { push, received } = await world(t)
  const distinct = (some: Received[]) => [
    new Set(some.map(({ query }) => String(query))).size,
    new Set(some.map(({ body }) => body)).size,
    new Set(some.map((one) => open(one))).size
  ]
  for (const concurrent of [false, true]) {
    t.same(statusesOf(await push({ kind: 'text', times: 5, concurrent })), [200, 200, 200, 200, 200])
    const nonces = new Set(received.map(({ query }) => query.get('nonce'))).size
    t.same(distinct(received.splice(0)), [5, 5, 1])
    t.equal(nonces, 5)
    await push({ kind: 'text', times: 5, concurrent, identical: true })
    t.same(distinct(received.splice(0)), [1, 1, 1])
  }
})

t.test('concurrent tries are under way together', async (t) => {
  const arrived = Promise.withResolvers<void>()
  let count = 0
  const { origin } = await listenFor(t, async (_request, response) => {
    count += 1
    if (count === 4) arrived.resolve()
    await arrived.promise
    response.end('success')
  })
  const { push } = await world(t)
  t.same(statusesOf(await push({ url: `${origin}/`, times: 4, concurrent: true })), [200, 200, 200, 200])
})

t.test('retries come until the push is taken, and RetryTimes counts them', async (t) => {
  const { push, received } = await world(t, (_, number) => ({ status: number < 3 ? 503 : 200, body: '' }))
  const { deliveries } = await push({ kind: 'xpay_refund_notify', retries: 14 })
  t.same(
    deliveries.map(({ status, accepted, problem }) => [status, accepted, problem]),
    [...Array(3).fill([503, false, 'HTTP 503']), [200, true, undefined]]
  )
  const said = received.map((one) => plainOf(one, true))
  t.same(
    said.map(({ RetryTimes }) => RetryTimes),
    [0, 1, 2, 3]
  )
  t.equal(new Set(said.map(({ MchRefundId }) => MchRefundId)).size, 1)
  const { push: pushInVain, received: refused } = await world(t, () => ({ status: 500, body: '' }))
  t.equal((await pushInVain({ kind: 'xpay_refund_notify', retries: 14 })).deliveries.length, 15)
  t.equal(plainOf(refused.at(-1), true).RetryTimes, 14)
  t.equal((await pushInVain({ kind: 'text', retries: 2, times: 2 })).deliveries.length, 6)
})

t.test('the URL check is a GET with the same echostr in each try, unencrypted in every mode', async (t) => {
  const { push, received } = await world(t, ({ query }) => ({ body: query.get('echostr') ?? '' }))
  for (const appid of [APPID, OTHER_APPID]) {
    const { message, deliveries } = await push({ appid, kind: 'url_check', times: 2 })
    t.match(deliveries, [{ accepted: true, body: message }, { accepted: true }])
    t.match(message, /^\d{13,14}$/)
  }
  for (const { method, query, body, headers } of received) {
    t.same([method, body, headers['content-type']], ['GET', '', undefined])
    t.same([...query.keys()], ['signature', 'timestamp', 'nonce', 'echostr'])
    t.equal(query.get('signature'), sha1(TOKEN, NOW, query.get('nonce') ?? ''))
  }
  const queriesOf = ({ deliveries }: PushResult) => new Set(deliveries.map(({ url }) => url)).size
  t.equal(queriesOf(await push({ kind: 'url_check', times: 2 })), 2)
  t.equal(queriesOf(await push({ kind: 'url_check', times: 2, identical: true })), 1)
  const { push: toOther } = await world(t, ({ query }) => ({ body: `"${query.get('echostr')}"` }))
  t.match((await toOther({ kind: 'url_check' })).deliveries, [
    { accepted: false, problem: 'the answer is not echostr' }
  ])
})

type Forgery = NonNullable<PushInput['forgery']>

/** What an app with a key sees; second, what an app without a key sees, or undefined if there is nothing to spoil. */
const FORGERIES: Record<Forgery, [encrypted: string, plain?: string]> = {
  token: ['signature', 'signature'],
  'aes-key': ['another app'],
  appid: ['another app'],
  downgrade: ['not encrypted'],
  ciphertext: ['another app'],
  tampered: ['signature'],
  'no-encrypt': ['not encrypted'],
  doctype: ['DOCTYPE', 'DOCTYPE'],
  signature: ['signature', 'signature'],
  'no-signature': ['signature', 'signature'],
  'plain-signature': ['signature'],
  'repeated-parameters': ['a parameter twice', 'a parameter twice'],
  oversize: ['too large', 'too large']
}

t.test('each forgery is a right push but for one thing', async (t) => {
  const { push, received } = await world(t)
  for (const format of FORMATS) {
    for (const [forgery, [encrypted, plain]] of Object.entries(FORGERIES) as [Forgery, [string, string?]][]) {
      for (const mode of ['safe', 'compatible'] as const) {
        await push({ forgery, mode, format })
        t.equal(open(received.at(-1) as Received), encrypted, `${forgery} in ${mode} mode as ${format}`)
      }
      const inPlain = await push({ appid: OTHER_APPID, forgery, format }).then(
        () => open(received.at(-1) as Received, false),
        ({ statusCode }) => statusCode
      )
      t.equal(inPlain, plain ?? 400, `${forgery} in plain mode as ${format}`)
    }
  }
})

t.test('forgeries differ from a right push in nothing else', async (t) => {
  const { push, received } = await world(t)
  const last = () => received.at(-1) as Received
  await push({ forgery: 'downgrade' })
  t.equal(parse(open(last(), false)).MsgType, 'text', 'a downgraded push is a right plain one')
  await push({ forgery: 'no-encrypt' })
  t.same(parse(last().body), { ToUserName: GH })
  t.equal(last().query.get('encrypt_type'), 'aes')
  await push({ forgery: 'no-signature' })
  t.notOk(last().query.has('msg_signature'))
  await push({ forgery: 'plain-signature' })
  t.equal(last().query.get('msg_signature'), last().query.get('signature'))
  const { deliveries } = await push({ forgery: 'oversize' })
  t.equal(Buffer.byteLength(last().body), 1024 * 1024 + 1)
  t.equal(deliveries.length, 1)
  await push({ forgery: 'doctype' })
  t.match(last().body, /^<!DOCTYPE xml \[<!ENTITY a "b">\]><xml><ToUserName>/)
  await push({ forgery: 'ciphertext' })
  const { query, body } = last()
  const signed = sha1(TOKEN, NOW, query.get('nonce') ?? '', String(parse(body).Encrypt))
  t.equal(query.get('msg_signature'), signed, 'a spoilt ciphertext is signed')
})

t.test('the query can be spoilt, aged, and used again', async (t) => {
  const { push, received } = await world(t)
  await push({ timestampOffset: -700 })
  t.equal(received.at(-1)?.query.get('timestamp'), String(Number(NOW) - 700))
  t.equal(plainOf(received.at(-1), true).CreateTime, Number(NOW))
  await push({ query: { nonce: '7', openid: null, more: 'x y&z' } })
  const { query } = received.at(-1) as Received
  t.same([query.get('nonce'), query.has('openid'), query.get('more')], ['7', false, 'x y&z'])
  await push({ query: { openid: ['a', 'b'] } })
  t.same(received.at(-1)?.query.getAll('openid'), ['a', 'b'])

  const first = await push({ appid: OTHER_APPID })
  const used = Object.fromEntries(new URL(first.deliveries[0]?.url ?? '').searchParams)
  await push({ appid: OTHER_APPID, query: used })
  const [before, after] = received.slice(-2)
  t.same(Object.fromEntries(after?.query ?? []), Object.fromEntries(before?.query ?? []))
  t.not(after?.body, before?.body)
})

const REPLY = { ToUserName: OPENID, FromUserName: GH, CreateTime: 1735689601, MsgType: 'transfer_customer_service' }
const REPLY_XML =
  `<xml><ToUserName><![CDATA[${OPENID}]]></ToUserName><FromUserName><![CDATA[${GH}]]></FromUserName>` +
  '<CreateTime>1735689601</CreateTime><MsgType><![CDATA[transfer_customer_service]]></MsgType></xml>'
const TIME = 1735689601

/** A reply as another implementation makes it; `change` spoils it. */
function encryptedReply(query: URLSearchParams, format: 'json' | 'xml', change: Json = {}): string {
  const Nonce = query.get('nonce') ?? ''
  const Encrypt = crypt.encrypt(format === 'json' ? JSON.stringify(REPLY) : REPLY_XML)
  const MsgSignature = crypt.getSignature(String(TIME), Nonce, Encrypt)
  const reply: Json = { Encrypt, MsgSignature, TimeStamp: TIME, Nonce, ...change }
  if (format === 'json') return JSON.stringify(reply)
  const element = (name: string) =>
    `<${name}>${name === 'TimeStamp' ? reply[name] : `<![CDATA[${reply[name]}]]>`}</${name}>`
  return `<xml>${Object.keys(reply).map(element).join('')}</xml>`
}

t.test('an encrypted reply of another implementation is verified and opened', async (t) => {
  for (const format of FORMATS) {
    const { push } = await world(t, ({ query }) => ({ body: encryptedReply(query, format) }))
    for (const mode of ['safe', 'compatible'] as const) {
      const { deliveries } = await push({ format, mode })
      const fields = format === 'json' ? REPLY : { ...REPLY, CreateTime: '1735689601' }
      t.match(deliveries, [{ accepted: true, reply: { encrypted: true } }])
      t.same(deliveries[0]?.reply?.fields, fields)
    }
  }
})

t.test('plain mode has plain replies', async (t) => {
  for (const [format, body] of Object.entries({ json: JSON.stringify(REPLY), xml: REPLY_XML })) {
    const { push } = await world(t, () => ({ body }))
    const { deliveries } = await push({ mode: 'plain', format: format as 'json' | 'xml' })
    t.match(deliveries, [{ accepted: true, reply: { encrypted: false, fields: { MsgType: REPLY.MsgType } } }])
  }
})

t.test('answers that WeChat takes, and answers that it does not', async (t) => {
  const answers: [body: string | ((received: Received) => string), problem: string | undefined][] = [
    ['success', undefined],
    ['', undefined],
    ['{"ErrCode":0,"ErrMsg":"success"}', undefined],
    ['<xml><ErrCode>0</ErrCode><ErrMsg><![CDATA[success]]></ErrMsg></xml>', undefined],
    ['{"ErrCode":-1,"ErrMsg":"busy"}', 'ErrCode -1'],
    ['<xml><ErrCode>-1</ErrCode><ErrMsg><![CDATA[busy]]></ErrMsg></xml>', 'ErrCode -1'],
    ['"success"', 'neither success nor JSON nor XML'],
    ['<html>', 'neither success nor JSON nor XML'],
    [JSON.stringify(REPLY), 'a reply in safe mode that is not encrypted'],
    [({ query }) => encryptedReply(query, 'json', { Nonce: '1' }), 'Nonce is not that of the push'],
    [({ query }) => encryptedReply(query, 'json', { TimeStamp: String(TIME) }), 'TimeStamp is no bare number'],
    [({ query }) => encryptedReply(query, 'xml', { MsgSignature: 'x' }), 'MsgSignature is wrong'],
    [({ query }) => replyWith(query, new WXBizMsgCrypt(TOKEN, AES_KEY, OTHER_APPID)), 'Encrypt is for another app'],
    [
      ({ query }) => replyWith(query, new WXBizMsgCrypt(TOKEN, AES_KEY.replace('abc', 'xyz'), APPID)),
      'Encrypt cannot be decrypted'
    ],
    [({ query }) => replyWith(query, crypt, 'x'), 'inside Encrypt is neither JSON nor XML'],
    [({ query }) => replyWith(query, crypt, JSON.stringify({ ...REPLY, ToUserName: 'o' })), 'the reply is not from'],
    [({ query }) => replyWith(query, crypt, JSON.stringify({ ...REPLY, MsgType: '' })), 'the reply has no CreateTime']
  ]
  for (const [body, problem] of answers) {
    const { push } = await world(t, (received) => ({ body: typeof body === 'string' ? body : body(received) }))
    const [delivery] = (await push({ kind: 'text' })).deliveries
    t.equal(delivery?.accepted, problem === undefined, String(problem))
    t.equal(delivery?.problem?.slice(0, problem?.length), problem)
  }
  const { push } = await world(t, ({ query }) => ({ body: encryptedReply(query, 'json') }))
  t.match((await push({ mode: 'plain' })).deliveries, [
    { accepted: false, problem: 'an encrypted reply in plain mode' }
  ])
})

function replyWith(query: URLSearchParams, other: Crypt, message = JSON.stringify(REPLY)): string {
  const Encrypt = other.encrypt(message)
  const MsgSignature = other.getSignature(String(TIME), query.get('nonce') ?? '', Encrypt)
  return encryptedReply(query, 'json', { Encrypt, MsgSignature })
}

t.test('no answer is a result, not an exception', async (t) => {
  const { push } = await world(t)
  const { origin, server } = await listenFor(t, (request) => request.socket.destroy())
  const { deliveries } = await push({ url: origin, times: 2 })
  t.match(deliveries, [
    { status: 0, accepted: false, problem: 'no answer', error: /\S/, body: '' },
    { status: 0, accepted: false }
  ])
  server.close()
})

t.test('POST /sandbox/push does the same, and refuses what makes no sense', async (t) => {
  const { sandbox, received, origin } = await world(t)
  const ask = (body: Json) => postJson(`${sandbox.origin}/sandbox/push`, body)
  const url = `${origin}/elsewhere?a=${randomInt(10)}`
  t.match(await ask({ appid: APPID, kind: 'debug_demo', url }), { deliveries: [{ status: 200, accepted: true }] })
  t.equal(received.at(-1)?.path, '/elsewhere')
  t.ok(received.at(-1)?.query.has('a'))
  t.match(parse(open(received.at(-1) as Received)), { Event: 'debug_demo', FromUserName: /^o.{27}$/ })
  t.match(await ask({ appid: APPID, knid: 'text' }), { statusCode: 400 })
  t.match(await ask({ appid: 'wx9999999999999999' }), { statusCode: 404 })
  t.match(await ask({ appid: 'wx0000000000000003' }), { statusCode: 409 })
  t.match(await ask({ appid: OTHER_APPID, mode: 'safe' }), { statusCode: 409 })
  t.match(await ask({ appid: APPID, kind: 'url_check', forgery: 'doctype' }), { statusCode: 400 })
  t.match(await ask({ appid: OTHER_APPID, forgery: 'aes-key' }), { statusCode: 400 })
})
