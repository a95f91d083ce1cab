/** Message push from the sandbox to the gateway and to the merchant's backend, over real HTTP. */
import t, { type Test } from 'tap'
import { Forgery } from '../../../sandbox/acts/push-forgery.ts'
import { MESSAGE_KINDS } from '../../../sandbox/acts/push-message.ts'
import { type PushDelivery, type PushInput, type PushResult, startSandbox } from '../../../sandbox/index.ts'
import { APPID, build, type Environment, OTHER_APPID } from '../../helper.ts'
import { faceOf } from './faces.ts'
import { AES_KEY, eventsIn, GH, OPENID, PLAIN, SAFE, TOKEN } from './pushes.ts'

const DELIVERING = { ROLES: 'api,worker' }
const TRANSFER = { WECHAT_PUSH_REPLY: 'transfer_customer_service' }
const FORMATS = ['json', 'xml'] as const

/** A gateway that listens, and WeChat with the same Token and key. */
async function world(t: Test, env: Environment) {
  // On a busy machine it would answer 503, which is right, but not the subject of this test.
  const gateway = await build(t, { env, overload: { maxEventLoopDelayMs: 0 } })
  const origin = await gateway.app.listen({ host: '127.0.0.1', port: 0 })
  const url = `${origin}/wechat/push/${APPID}`
  const settings = { url, token: TOKEN, aesKey: AES_KEY, originalId: GH }
  const wechat = await startSandbox({ apps: [{ appid: APPID, secret: 's', push: settings }] })
  t.teardown(() => wechat.close())
  const push = (input: Partial<PushInput>) => wechat.push({ appid: APPID, openid: OPENID, ...input })
  return { ...gateway, origin, push }
}

/** As WeChat sees it. */
const faceAt = ({ status: statusCode, headers, body }: PushDelivery) => faceOf({ statusCode, headers, body })

/** Why WeChat would send again, for each delivery; undefined where it would not. */
const problemsOf = ({ deliveries }: PushResult) => deliveries.map(({ problem, error }) => error ?? problem)

const forgeries = Forgery.anyOf.map(({ const: name }) => name)

const WAYS = [
  { mode: 'plain', env: PLAIN },
  { mode: 'compatible', env: PLAIN },
  { mode: 'compatible', env: SAFE },
  { mode: 'safe', env: SAFE }
] as const

for (const { mode, env } of WAYS) {
  for (const format of FORMATS) {
    const key = env === SAFE ? 'with' : 'without'
    t.test(`every kind in ${mode} mode as ${format}, ${key} a key, is one event at the backend`, async (t) => {
      const { app, backend, push } = await world(t, { ...env, ...DELIVERING })
      t.same(problemsOf(await push({ kind: 'url_check', mode })), [undefined])
      for (const kind of MESSAGE_KINDS) {
        const result = await push({ kind, mode, format, times: 3, concurrent: true })
        t.same(problemsOf(result), [undefined, undefined, undefined], kind)
      }
      const recorded = await eventsIn(app)
      t.equal(recorded.length, MESSAGE_KINDS.length)
      for (const { id } of recorded) await backend.waitFor((event) => event.id === id && event.accepted)
      const events = backend.events()
      t.same(events.map(({ data }) => data.event ?? data.msgType).sort(), [...MESSAGE_KINDS].sort())
      for (const { type, attempts, data } of events) {
        t.same([type, attempts, data.appid], ['message.received', 1, APPID])
        t.match(data, { raw: { ToUserName: GH } })
      }
    })
  }
}

t.test('what the events say is what was pushed', async (t) => {
  const { app, push } = await world(t, SAFE)
  const { message } = await push({ kind: 'text' })
  const { message: list } = await push({ kind: 'subscribe_msg_popup_event', templateIds: ['A', 'B'], format: 'xml' })
  const { message: paid } = await push({ kind: 'xpay_goods_deliver_notify' })
  const [text, popup, deliver] = await eventsIn(app)
  const [, msgId] = /"MsgId":(\d+)/.exec(message) ?? []
  t.equal(text?.id, `msg_${APPID}_${msgId}`)
  t.same(text?.data.raw, { ...JSON.parse(message), MsgId: msgId })
  t.match(list, '<SubscribeMsgPopupEvent><List>')
  t.match(popup?.data.raw.SubscribeMsgPopupEvent.List, [{ TemplateId: 'A' }, { TemplateId: 'B' }])
  t.same(deliver?.data.raw, JSON.parse(paid))
  t.same([text?.data.openid, popup?.data.openid, deliver?.data.openid], [OPENID, OPENID, OPENID])
})

t.test('tries of one message are one event: a new query, the same bytes, and RetryTimes that grows', async (t) => {
  for (const env of [PLAIN, SAFE]) {
    const { app, push } = await world(t, env)
    const mode = env === SAFE ? 'safe' : 'plain'
    for (const kind of ['text', 'xpay_refund_notify', 'xpay_complaint_notify', 'wxa_media_check'] as const) {
      for (const identical of [false, true]) {
        const { deliveries } = await push({ kind, mode, times: 10, concurrent: true, identical })
        t.same(new Set(deliveries.map(({ accepted }) => accepted)), new Set([true]), kind)
      }
    }
    t.equal((await eventsIn(app)).length, 8)
  }
})

t.test('every forgery is refused with one face, and leaves nothing behind', async (t) => {
  const { app, push, origin } = await world(t, SAFE)
  const small = forgeries.filter((name) => name !== 'oversize')
  t.equal(small.length, 12)
  const faces = new Set<string>()
  const refuse = async (input: Partial<PushInput>, name: string) => {
    const [delivery] = (await push(input)).deliveries
    t.match(delivery, { status: 403, body: 'refused', accepted: false }, name)
    faces.add(faceAt(delivery as PushDelivery))
  }
  for (const format of FORMATS) {
    for (const mode of ['compatible', 'safe'] as const) {
      for (const forgery of small) await refuse({ forgery, mode, format }, `${forgery} in ${mode} mode as ${format}`)
      for (const timestampOffset of [-700, 700]) await refuse({ timestampOffset, mode, format }, 'another time')
      for (const [name, value] of Object.entries({ nonce: '7', timestamp: '1714036504', encrypt_type: 'raw' }))
        await refuse({ mode, format, query: { [name]: value } }, `another ${name}`)
      for (const [name, value] of Object.entries({ openid: OPENID, encrypt_type: 'aes', more: 'x' }))
        await refuse({ mode, format, query: { [name]: [value, value] } }, `${name} twice`)
      for (const name of ['timestamp', 'nonce', 'encrypt_type', 'msg_signature'])
        await refuse({ mode, format, query: { [name]: null } }, `without ${name}`)
    }
    for (const message of [
      '<!DOCTYPE xml><xml><MsgType>text</MsgType></xml>',
      '<xml><MsgType>text</MsgType><a>&b;</a></xml>'
    ])
      await refuse({ message, format }, `signed, but ${message}`)
  }
  for (const appid of [OTHER_APPID, 'wx0000000000000000'])
    await refuse({ url: `${origin}/wechat/push/${appid}` }, appid)
  await refuse({ mode: 'plain' }, 'plain though there is a key')
  t.equal(faces.size, 1, [...faces].join('\n'))

  const { deliveries } = await push({ forgery: 'oversize' })
  t.match(deliveries, [{ status: 413, body: 'refused', accepted: false }])
  t.same(await eventsIn(app), [])
  t.match((await push({})).deliveries, [{ accepted: true }])
})

t.test('in plain mode too, and a query is good for one message only', async (t) => {
  const { app, push } = await world(t, PLAIN)
  const faces = new Set<string>()
  const refuse = async (input: Partial<PushInput>, name: string) => {
    const [delivery] = (await push({ mode: 'plain', ...input })).deliveries
    t.match(delivery, { status: 403, body: 'refused', accepted: false }, name)
    faces.add(faceAt(delivery as PushDelivery))
  }
  for (const format of FORMATS) {
    for (const forgery of ['token', 'signature', 'no-signature', 'repeated-parameters', 'doctype'] as const)
      await refuse({ forgery, format }, forgery)
    for (const timestampOffset of [-700, 700]) await refuse({ timestampOffset, format }, 'another time')
  }
  t.same(await eventsIn(app), [])
  const { deliveries } = await push({ mode: 'plain' })
  const query = Object.fromEntries(new URL(deliveries[0]?.url ?? '').searchParams)
  await refuse({ query }, 'the query of another message')
  t.equal(faces.size, 1)
  t.equal((await eventsIn(app)).length, 1)
})

t.test('virtual payment may come hours later', async (t) => {
  for (const [env, mode] of [
    [PLAIN, 'plain'],
    [SAFE, 'safe']
  ] as const) {
    const { push } = await world(t, env)
    const late = { mode, timestampOffset: -18 * 3600 }
    t.match((await push({ ...late, kind: 'xpay_coin_pay_notify' })).deliveries, [{ accepted: true }])
    t.match((await push({ ...late, kind: 'text' })).deliveries, [{ status: 403 }])
  }
})

t.test('a forged URL check is refused with one face', async (t) => {
  const { push } = await world(t, SAFE)
  const faces = new Set<string>()
  for (const forgery of ['token', 'signature', 'no-signature', 'repeated-parameters'] as const) {
    const { deliveries } = await push({ kind: 'url_check', forgery })
    t.match(deliveries, [{ status: 403, body: 'refused', accepted: false }], forgery)
    for (const delivery of deliveries) faces.add(faceAt(delivery))
  }
  t.equal(faces.size, 1)
  t.match((await push({ kind: 'url_check' })).deliveries, [{ accepted: true }])
})

t.test('WeChat reads the reply that passes a customer on, encrypted where the push was', async (t) => {
  const ways = [
    { env: PLAIN, mode: 'plain', encrypted: false },
    { env: SAFE, mode: 'compatible', encrypted: true },
    { env: SAFE, mode: 'safe', encrypted: true }
  ] as const
  for (const { env, mode, encrypted } of ways) {
    const { push } = await world(t, { ...env, ...TRANSFER })
    for (const format of FORMATS) {
      const { deliveries } = await push({ kind: 'text', mode, format })
      const fields = { ToUserName: OPENID, FromUserName: GH, MsgType: 'transfer_customer_service' }
      t.match(deliveries, [{ accepted: true, reply: { encrypted, fields } }])
      const { deliveries: others } = await push({ kind: 'user_enter_tempsession', mode, format })
      t.match(others, [{ accepted: true, body: 'success' }])
    }
  }
})

t.test('virtual payment is answered in its own form', async (t) => {
  const { push } = await world(t, SAFE)
  for (const [format, body] of [
    ['json', '{"ErrCode":0,"ErrMsg":"success"}'],
    ['xml', '<xml><ErrCode>0</ErrCode><ErrMsg><![CDATA[success]]></ErrMsg></xml>']
  ] as const)
    t.match((await push({ kind: 'xpay_refund_notify', format })).deliveries, [{ accepted: true, body }])
})
