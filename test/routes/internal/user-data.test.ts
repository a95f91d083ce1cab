/** POST /internal/apps/{appid}/users/{openid}/phone and /userdata: what a backend learns of a user, and from whom. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { seal, signRawData } from '../../../sandbox/wire/open-data.ts'
import { APPID, build, logIn, OTHER_APPID } from '../../helper.ts'
import { callsOf, hold, post, refused, sessionKeyOf } from '../api/client.ts'
import { KEY } from './backend.ts'

const NUMBER = { phoneNumber: '13000000000', purePhoneNumber: '13000000000', countryCode: '86' }
const MARK = { watermark: { appid: APPID, timestamp: 1_795_392_000 } }

const urlOf = (call: 'phone' | 'userdata', openid: string, appid = APPID) =>
  `/internal/apps/${appid}/users/${openid}/${call}`

async function world(t: Test) {
  const world = await build(t, { env: { RATE_LIMIT: '0' } })
  const user = await logIn(world.app, world.sandbox)
  const ask = (call: 'phone' | 'userdata', body: object, openid = user.openid, app: FastifyInstance = world.app) =>
    post(app, urlOf(call, openid), body, KEY)
  return { world, user, ask, key: await sessionKeyOf(world, user.openid) }
}

t.test('phone of a user takes the code before the data, and says which it was', async (t) => {
  const { world: here, user, ask } = await world(t)
  const { app, sandbox } = here
  const { openid } = user
  const { code, encryptedData, iv } = sandbox.phoneButton({ appid: APPID, openid, phoneNumber: '13900000000' })
  const other = { phoneNumber: '13900000000', purePhoneNumber: '13900000000', countryCode: '86' }
  const forged = sandbox.phoneButton({ appid: APPID, openid })
  const both = { code, encryptedData: forged.encryptedData, iv: forged.iv, errMsg: 'getPhoneNumber:ok' }
  t.same((await ask('phone', both)).json(), { ...other, source: 'code' })
  t.same((await ask('phone', { encryptedData, iv, code: null })).json(), { ...other, source: 'data' })
  t.same((await post(app, '/api/phone', { code }, user.headers)).json(), other, 'the page may show the same code')
  t.equal(callsOf(sandbox, 'getuserphonenumber').length, 1)

  const broken = { ...both, code: 'no-code-of-wechat' }
  refused(t, await ask('phone', broken), 401, 'CODE_INVALID')
  await app.sessions.store.closeAll({ appid: APPID, openid })
  const { code: later } = sandbox.phoneButton({ appid: APPID, openid })
  t.same((await ask('phone', { code: later })).json(), { ...NUMBER, source: 'code' }, 'a code needs no key')
  refused(t, await ask('phone', { encryptedData, iv }), 409, 'SESSION_KEY_EXPIRED')
  const { code: others } = sandbox.phoneButton({ appid: APPID, openid })
  refused(t, await ask('phone', { code: others }, 'oSomebodyElse'), 502, 'WECHAT_REJECTED')
  t.notMatch(here.logs(), /13900000000|13000000000/)
})

t.test('userdata of a user opens with the keys that are held of them', async (t) => {
  const { world: here, user, ask, key } = await world(t)
  const { openid } = user
  const data = seal(key, JSON.stringify({ steps: 7, id: 1, ...MARK }).replace('"id":1', '"id":23456789012345678'))
  const answer = await ask('userdata', { ...data, errMsg: 'ok' })
  t.equal(answer.body, '{"data":{"steps":7,"id":"23456789012345678"}}')
  const rawData = '{"a":1}'
  const signed = { rawData, signature: signRawData(rawData, key) }
  t.same((await ask('userdata', signed)).json(), { data: { a: 1 } })
  refused(t, await ask('userdata', { rawData: '[]', signature: signRawData('[]', key) }), 422, 'DATA_MALFORMED')
  refused(t, await ask('userdata', { ...signed, rawData: '{"a":2}' }), 422, 'SIGNATURE_INVALID')
  refused(t, await ask('userdata', seal(key, '{"openId":"oX","watermark":{}}')), 422, 'DECRYPT_FAILED')
  const foreign = JSON.stringify({ watermark: { ...MARK.watermark, appid: OTHER_APPID } })
  refused(t, await ask('userdata', seal(key, foreign)), 422, 'WATERMARK_INVALID')
  refused(t, await ask('userdata', data, 'oNobody'), 409, 'SESSION_KEY_EXPIRED')
  for (let failures = 3; failures < 30; failures++) refused(t, await ask('phone', data), 422, 'DECRYPT_FAILED')
  refused(t, await ask('userdata', data), 429, 'RATE_LIMITED')
  refused(t, await post(here.app, '/api/userdata', data, user.headers), 429, 'RATE_LIMITED')
  const held = await hold(here.app, APPID, 'oOther', key)
  t.equal((await post(here.app, '/api/userdata', data, held.headers)).statusCode, 200, `${openid} alone`)
})

t.test('both are for the merchant alone, for apps that are configured, and say what is missing', async (t) => {
  const { world: here, user, ask } = await world(t)
  const { app } = here
  for (const call of ['phone', 'userdata'] as const) {
    refused(t, await post(app, urlOf(call, user.openid), { code: 'x' }), 401, 'TOKEN_MISSING')
    refused(t, await post(app, urlOf(call, user.openid), { code: 'x' }, user.headers), 401, 'TOKEN_INVALID')
    const unknown = { encryptedData: 'AAAA', iv: 'AAAA' }
    refused(t, await post(app, urlOf(call, user.openid, OTHER_APPID), unknown, KEY), 400, 'APP_UNKNOWN')
    refused(t, await ask(call, unknown, 'o'.repeat(129)), 414, 'FST_ERR_MAX_PARAM_LENGTH')
  }
  const missing: [call: 'phone' | 'userdata', body: object, message: RegExp][] = [
    ['phone', {}, /code or encryptedData/],
    ['phone', { phone_code: 'x' }, /phone_code; it is called code/],
    ['userdata', { code: 'x' }, /encryptedData or rawData/]
  ]
  for (const [call, body, message] of missing) {
    const answer = await ask(call, body)
    refused(t, answer, 400, 'FST_ERR_VALIDATION')
    t.match(answer.json().message, message)
  }
  const scoped = await here.another({ INTERNAL_API_KEYS: `shop/pay:${'s'.repeat(32)},crm/login:${'c'.repeat(32)}` })
  const byKey = (letter: string) =>
    post(scoped, urlOf('phone', user.openid), { code: 'x' }, { authorization: `Bearer ${letter.repeat(32)}` })
  refused(t, await byKey('s'), 403, 'KEY_SCOPE')
  refused(t, await byKey('c'), 401, 'CODE_INVALID')
})
