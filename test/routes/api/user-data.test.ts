/** POST /api/phone and /api/userdata: what opens, with which key, for whom, and what is refused. */
import { hash } from 'node:crypto'
import t, { type Test } from 'tap'
import { seal, signRawData } from '../../../sandbox/wire/open-data.ts'
import { APPID, type BuildOptions, build, type LoggedIn, logIn, type World } from '../../helper.ts'
import { vectors } from '../../vectors.ts'
import { type Answer, callsOf, type Headers, hold, keysOf, post, refused, sessionKeyOf, severalApps } from './client.ts'

interface Encrypted {
  name: string
  appid: string
  session_key: string
  iv: string
  encryptedData: string
  json: Record<string, unknown> & { watermark: { appid: string } }
}

const PHONE = { phoneNumber: '13000000000', purePhoneNumber: '13000000000', countryCode: '86' }

type Data = { encryptedData: string; iv: string }
const part = ({ encryptedData, iv }: Data): Data => ({ encryptedData, iv })
const button = ({ sandbox }: World, openid: string, more: object = {}) =>
  sandbox.phoneButton({ appid: APPID, openid, ...more })
const phone = ({ app }: World, body: object, { headers }: { headers: Headers }) =>
  post(app, '/api/phone', body, headers)
const read = ({ app }: World, body: object, { headers }: { headers: Headers }) =>
  post(app, '/api/userdata', body, headers)

function gives(t: Test, answer: Answer, body: object): void {
  t.same(answer.json(), body)
  t.equal(answer.statusCode, 200)
}

async function world(t: Test, options: BuildOptions = {}) {
  const world = await build(t, options)
  const user = await logIn(world.app, world.sandbox)
  return { world, user }
}

t.test('userdata() opens every published payload, and refuses every broken one', async (t) => {
  const { official, shapes, negative } = vectors<{ official: Encrypted; shapes: Encrypted[]; negative: Encrypted[] }>(
    'open-data-decrypt'
  )
  const apps = [official, ...shapes.slice(0, 1)].map(({ appid }) => ({ appid, secret: 'of-no-use' }))
  const { app } = await build(t, { env: severalApps(t, apps) })
  const openid = String(official.json.openId)
  let cases = 0
  for (const vector of [official, ...shapes]) {
    const user = await hold(app, vector.appid, String(vector.json.openId ?? openid), vector.session_key)
    const answer = await post(app, '/api/userdata', part(vector), user.headers)
    const { watermark, ...data } = vector.json
    if (watermark.appid === vector.appid) gives(t, answer, { data })
    else refused(t, answer, 422, 'WATERMARK_INVALID')
    cases += 1
  }
  for (const { name, encryptedData, iv, session_key } of negative) {
    await app.sessions.store.close({ appid: official.appid, openid, sid: '' }, true)
    const user = await hold(app, official.appid, openid, session_key)
    const answer = await post(app, '/api/userdata', { encryptedData, iv }, user.headers)
    if (name.startsWith('plus signs')) t.equal(answer.statusCode, 200, 'repaired')
    else if (encryptedData === '') refused(t, answer, 400, 'FST_ERR_VALIDATION')
    else refused(t, answer, 422, 'DECRYPT_FAILED')
    cases += 1
  }
  t.equal(cases, 1 + 7 + 9, 'all vectors')
})

t.test('userdata() verifies every published signature over rawData', async (t) => {
  interface Signed {
    rawData: string
    session_key: string
    signature: string
    valid?: boolean
  }
  const file = vectors<{ official: Signed; synthetic: Signed[]; negative: Signed[] }>('open-data-signature')
  const { app } = await build(t)
  const cases = [file.official, ...file.synthetic, ...file.negative]
  for (const { rawData, signature, session_key, valid = true } of cases) {
    const user = await hold(app, APPID, 'oUser', session_key)
    const answer = await post(app, '/api/userdata', { rawData, signature }, user.headers)
    if (valid) gives(t, answer, { data: JSON.parse(rawData) })
    else refused(t, answer, 422, 'SIGNATURE_INVALID')
  }
  t.equal(cases.length, 3)
})

t.test('userdata() wants data and signature both to hold, and whole pairs', async (t) => {
  const { world: here, user } = await world(t)
  const { openid } = user
  const { rawData, signature, ...data } = here.sandbox.openData({
    appid: APPID,
    openid,
    data: { nickName: '微信用户' }
  })
  const profile = { openId: openid, nickName: '微信用户' }
  t.match((await read(here, { rawData, signature, ...data }, user)).json(), { data: profile })
  gives(t, await read(here, { rawData, signature }, user), { data: { nickName: '微信用户' } })
  const wrong = 'f'.repeat(40)
  refused(t, await read(here, { rawData, signature: wrong, ...data }, user), 422, 'SIGNATURE_INVALID')
  const broken = { ...data, iv: Buffer.alloc(16).toString('base64') }
  refused(t, await read(here, { rawData, signature, ...broken }, user), 422, 'DECRYPT_FAILED')
  for (const half of [{}, { rawData }, { signature }, { iv: data.iv }, { ...data, rawData }])
    refused(t, await read(here, half, user), 400, 'FST_ERR_VALIDATION')
  for (const half of [{}, { iv: data.iv }, { code: 'c', iv: data.iv }, { rawData }])
    refused(t, await phone(here, half, user), 400, 'FST_ERR_VALIDATION')
})

t.test('userdata() hands hostile but signed objects out as data', async (t) => {
  const { world: here, user } = await world(t)
  const key = await sessionKeyOf(here, user.openid)
  const rawData = '{"__proto__":{"admin":true},"constructor":1,"toString":"x","n":1e999,"lone":"\\ud800"}'
  const answer = await read(here, { rawData, signature: signRawData(rawData, key) }, user)
  t.equal(answer.statusCode, 200)
  t.equal(({} as { admin?: boolean }).admin, undefined)
  for (const text of ['[1]', 'null', '"x"', '{"a":']) {
    refused(t, await read(here, { rawData: text, signature: signRawData(text, key) }, user), 422, 'DATA_MALFORMED')
    refused(t, await read(here, seal(key, text), user), 422, 'DECRYPT_FAILED')
  }
  for (const watermark of [undefined, null, 'x', {}, { appid: null }, { appid: [APPID], timestamp: 1 }])
    refused(t, await read(here, seal(key, JSON.stringify({ a: 1, watermark })), user), 422, 'DECRYPT_FAILED')
})

t.test('phone() decrypts with the key of the button, three logins back and no more', async (t) => {
  const { world: here, user } = await world(t, { env: { RATE_LIMIT: '0' } })
  const buttons = [button(here, user.openid)]
  let last: LoggedIn = user
  for (let logins = 0; logins < 3; logins += 1) {
    last = await logIn(here.app, here.sandbox, user.openid)
    buttons.push(button(here, user.openid))
  }
  const [fourthOldest, ...held] = buttons
  for (const one of held) gives(t, await phone(here, part(one), last), PHONE)
  t.equal(held.length, 3)
  refused(t, await phone(here, part(fourthOldest as Data), last), 422, 'DECRYPT_FAILED')
  t.equal(callsOf(here.sandbox, 'getuserphonenumber').length, 0, 'all of it locally')
})

t.test('phone() counts a key that WeChat hands out again once', async (t) => {
  const { world: here, user } = await world(t)
  const first = button(here, user.openid)
  await logIn(here.app, here.sandbox, user.openid)
  for (let logins = 0; logins < 4; logins += 1) {
    const { code } = here.sandbox.login({ appid: APPID, openid: user.openid, keepSessionKey: true })
    t.equal((await post(here.app, '/api/login', { code })).statusCode, 200)
  }
  gives(t, await phone(here, part(first), user), PHONE)
})

t.test('phone() needs a session_key within its time, each key by its own', async (t) => {
  let nowMs = Date.now()
  const { world: here, user } = await world(t, { env: { SESSION_KEY_TTL: '100' }, now: () => nowMs })
  const first = button(here, user.openid)
  nowMs += 60_000
  await logIn(here.app, here.sandbox, user.openid)
  const second = button(here, user.openid)
  gives(t, await phone(here, part(first), user), PHONE)
  const { app } = here
  const size = () => app.redis.strlen(app.keys.sessionKeys(APPID, user.openid))
  const twoKeys = await size()
  nowMs += 40_000
  refused(t, await phone(here, part(first), user), 422, 'DECRYPT_FAILED')
  gives(t, await phone(here, part(second), user), PHONE)
  nowMs += 60_000
  refused(t, await phone(here, part(second), user), 409, 'SESSION_KEY_EXPIRED')
  refused(t, await read(here, { rawData: '{}', signature: 'a'.repeat(40) }, user), 409, 'SESSION_KEY_EXPIRED')
  await logIn(app, here.sandbox, user.openid)
  t.equal(await size(), twoKeys / 2, 'what has ended is dropped')
})

t.test('phone() looks at watermark and owner', async (t) => {
  const nowMs = Date.now()
  const { world: here, user } = await world(t, { env: { WATERMARK_MAX_AGE: '60' }, now: () => nowMs })
  const made = (more: object) => part(button(here, user.openid, more))
  const seconds = Math.floor(nowMs / 1000)
  refused(t, await phone(here, made({ watermarkAppid: 'wx00000000000000ff' }), user), 422, 'WATERMARK_INVALID')
  refused(t, await phone(here, made({ watermarkTimestamp: seconds - 61 }), user), 422, 'WATERMARK_INVALID')
  gives(t, await phone(here, made({ watermarkTimestamp: seconds - 59 }), user), PHONE)
  const foreign = made({ phoneNumber: '60000000', countryCode: '852' })
  const number = { phoneNumber: '+85260000000', purePhoneNumber: '60000000', countryCode: '852' }
  gives(t, await phone(here, foreign, user), number)

  const openData = (data: object) =>
    part(here.sandbox.openData({ appid: APPID, openid: user.openid, data: { ...data } }))
  refused(t, await read(here, openData({ nickName: 'n', openId: 'oSomebodyElse' }), user), 422, 'DECRYPT_FAILED')
  refused(t, await phone(here, openData({ openGId: 'x' }), user), 422, 'DECRYPT_FAILED')
  const other = await logIn(here.app, here.sandbox)
  refused(t, await phone(here, made({}), other), 422, 'DECRYPT_FAILED')
  t.notMatch(here.logs(), /13000000000|60000000/)
})

t.test('phone() repairs spaces, and refuses all else that is no ciphertext without a trace', async (t) => {
  const { world: here, user } = await world(t)
  const withPlus = (): Data => {
    const made = part(button(here, user.openid))
    return /\+.*\+/.test(made.encryptedData) ? made : withPlus()
  }
  const good = withPlus()
  const spaced = { encryptedData: good.encryptedData.replaceAll('+', ' '), iv: good.iv.replaceAll('+', ' ') }
  gives(t, await phone(here, spaced, user), PHONE)
  const before = (await keysOf(here)).sort()
  const bytes = Buffer.from(good.encryptedData, 'base64')
  const { encryptedData } = good
  const broken = [
    encryptedData.replace(/=*$/, '').slice(0, -1),
    encryptedData.slice(0, -4),
    `${encryptedData}AAAA`,
    'AAAA',
    'A'.repeat(16_384),
    bytes.subarray(0, -16).toString('base64'),
    bytes.subarray(0, 16).toString('base64'),
    Buffer.alloc(bytes.length, 7).toString('base64')
  ]
  for (const data of broken) {
    const answer = await phone(here, { ...good, encryptedData: data }, user)
    t.match(answer.json(), { statusCode: /4(00|22)/, code: /^(DECRYPT_FAILED|FST_ERR_VALIDATION)$/ })
    t.equal(answer.json().message.includes(data), false)
  }
  for (const iv of ['AAAA', good.iv.slice(0, -4), Buffer.alloc(15).toString('base64')])
    refused(t, await phone(here, { ...good, iv }, user), 422, 'DECRYPT_FAILED')
  refused(t, await phone(here, { ...good, encryptedData: '%2B'.repeat(32) }, user), 422, 'DECRYPT_FAILED')
  refused(t, await phone(here, { ...good, encryptedData: '{"a":1}' }, user), 400, 'FST_ERR_VALIDATION')
  const counted = here.app.keys.failedTries(APPID, user.openid)
  t.same((await keysOf(here)).sort(), [...before, counted].sort(), 'nothing was written but that it failed')
  t.equal(callsOf(here.sandbox, 'getuserphonenumber').length, 0)
})

t.test('phone() exchanges the code, for its own user only', async (t) => {
  const { world: here, user } = await world(t)
  const { code, ...data } = button(here, user.openid)
  const other = await logIn(here.app, here.sandbox)
  refused(t, await phone(here, { code }, other), 502, 'WECHAT_REJECTED', { wechat: { errcode: 40003 } })
  gives(t, await phone(here, { code, ...data }, user), PHONE)
  t.equal(callsOf(here.sandbox, 'getuserphonenumber').length, 1, 'what opens locally needs no call')
  const stale = button(here, user.openid, { watermarkAppid: 'wx00000000000000ff' })
  refused(t, await phone(here, stale, user), 422, 'WATERMARK_INVALID')
  const { iv } = stale
  gives(t, await phone(here, { code, encryptedData: data.encryptedData, iv }, user), PHONE)
  await here.app.redis.del(here.app.keys.phoneCode(APPID, user.openid, hash('sha256', code, 'base64url')))
  refused(t, await phone(here, { code }, user), 401, 'CODE_INVALID', { wechat: { errcode: 40029 } })
  t.same(
    new Set(callsOf(here.sandbox, 'getuserphonenumber').map(({ openid }) => openid)),
    new Set([other.openid, user.openid])
  )
})
