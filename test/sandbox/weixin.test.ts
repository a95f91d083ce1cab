/** The sandbox as api.weixin.qq.com: login, token, phone number, open data, faults. */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { seal, signRawData } from '../../sandbox/wire/open-data.ts'
import { vectors } from '../vectors.ts'
import {
  APPID,
  askPhone,
  askToken,
  build,
  decrypt,
  OTHER_APPID,
  postJson,
  readJson,
  SECRET,
  session
} from './client.ts'

const RID = /, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$/

t.test('code2session answers a code once, as JSON labelled text/plain', async (t) => {
  const { sandbox } = await build(t)
  const { code, openid } = sandbox.login({ appid: APPID })
  const response = await session(sandbox, { js_code: code })
  t.equal(response.headers.get('content-type'), 'text/plain')
  const first = await readJson(response)
  t.same(Object.keys(first).sort(), ['openid', 'session_key'], 'no errcode, no unionid')
  t.equal(first.openid, openid)
  t.match(openid, /^o[A-Za-z0-9_-]{27}$/)
  t.equal(Buffer.from(String(first.session_key), 'base64').length, 16)
  t.match(first.session_key, /^.{22}==$/)
  const second = await readJson(await session(sandbox, { js_code: code }))
  t.equal(second.errcode, 40163)
  t.match(second.errmsg, RID)
  t.equal(Number.parseInt(/rid: (.{8})/.exec(String(second.errmsg))?.[1] ?? '', 16), Date.parse('2025-01-01') / 1000)
})

t.test('code2session names each fault of a request', async (t) => {
  const { sandbox, advance } = await build(t)
  const { code } = sandbox.login({ appid: APPID })
  const errcode = async (changes: Record<string, string | null>, method?: string) =>
    (await readJson(await session(sandbox, { js_code: code, ...changes }, method))).errcode
  t.equal(await errcode({ appid: null }), 41002)
  t.equal(await errcode({ secret: null }), 41004)
  t.equal(await errcode({ js_code: null }), 41008)
  t.equal(await errcode({ js_code: '' }), 41008)
  t.equal(await errcode({ grant_type: null }), 40002)
  t.equal(await errcode({ grant_type: 'client_credential' }), 40002)
  t.equal(await errcode({ appid: 'wxffffffffffffffff' }), 40013)
  t.equal(await errcode({ secret: 'wrong' }), 40125)
  t.equal(await errcode({ js_code: 'unknown' }), 40029)
  t.equal(await errcode({ appid: OTHER_APPID }), 40029, 'a code of another app')
  t.equal(await errcode({}, 'POST'), 41002, 'parameters of a POST are not seen')
  advance(299_999)
  const fresh = sandbox.login({ appid: APPID })
  t.equal(await errcode({}), undefined, 'still good in the last millisecond, whatever failed before')
  advance(300_000)
  t.equal(await errcode({ js_code: fresh.code }), 40029, 'expired')
  t.equal(await errcode({}), 40163, 'used is used')
  advance(3_600_000)
  sandbox.login({ appid: APPID })
  t.equal(await errcode({}), 40029, 'forgotten after an hour')
})

t.test('login() renews the session_key at wx.login, and code2session gives the newest', async (t) => {
  const { sandbox } = await build(t)
  const key = async (code: string) => (await readJson(await session(sandbox, { js_code: code }))).session_key
  const { code, openid } = sandbox.login({ appid: APPID })
  const first = await key(code)
  const before = sandbox.openData({ appid: APPID, openid, data: { a: 1 } })
  const older = sandbox.login({ appid: APPID, openid })
  const newer = sandbox.login({ appid: APPID, openid })
  const second = await key(newer.code)
  t.not(second, first)
  t.equal(await key(older.code), second, 'an older code gives the newest key')
  t.match(
    JSON.parse(decrypt(first, before.encryptedData, before.iv)),
    { a: 1 },
    'data from before belongs to the key before'
  )
  t.equal(await key(sandbox.login({ appid: APPID, openid, keepSessionKey: true }).code), second)
})

t.test('code2session gives a unionid where the app has them', async (t) => {
  const { sandbox } = await build(t)
  const { code, openid } = sandbox.login({ appid: OTHER_APPID, openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' })
  t.equal(openid, 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o')
  t.match(await readJson(await session(sandbox, { appid: OTHER_APPID, js_code: code })), {
    openid,
    unionid: /^o.{27}$/
  })
})

t.test('stable_token repeats, renews early with both valid, and force_refresh kills', async (t) => {
  const { sandbox, advance } = await build(t)
  const first = await askToken(sandbox)
  t.equal(first.expires_in, 7200)
  advance(6_800_000)
  t.same(await askToken(sandbox), { access_token: first.access_token, expires_in: 400 })
  advance(100_000)
  const second = await askToken(sandbox)
  t.not(second.access_token, first.access_token)
  t.equal((await askPhone(sandbox, first.access_token, {})).errcode, 40029, 'the old one works in its last 5 minutes')
  t.equal((await askPhone(sandbox, second.access_token, {})).errcode, 40029)
  advance(300_000)
  t.equal((await askPhone(sandbox, first.access_token, {})).errcode, 42001)
  const third = await askToken(sandbox, { force_refresh: true })
  t.not(third.access_token, second.access_token)
  t.equal((await askPhone(sandbox, second.access_token, {})).errcode, 40001)
  advance(29_999)
  t.equal(
    (await askToken(sandbox, { force_refresh: true })).access_token,
    third.access_token,
    'within 30 s nothing is refreshed'
  )
  for (let count = 2; count <= 20; count += 1) {
    advance(30_000)
    await askToken(sandbox, { force_refresh: true })
  }
  advance(30_000)
  t.equal((await askToken(sandbox, { force_refresh: true })).errcode, 45009, 'the 21st of a day')
  advance(86_400_000)
  t.equal((await askToken(sandbox, { force_refresh: true })).expires_in, 7200)
})

t.test('stable_token names each fault of a request', async (t) => {
  const { sandbox } = await build(t)
  const url = `${sandbox.origin}/cgi-bin/stable_token`
  const raw = async (body: string) => (await readJson(await fetch(url, { method: 'POST', body }))).errcode
  t.equal((await askToken(sandbox, { appid: 'wxffffffffffffffff' })).errcode, 40013)
  t.equal((await askToken(sandbox, { secret: SECRET.replace('0', '1') })).errcode, 40001)
  t.equal((await askToken(sandbox, { secret: 'short' })).errcode, 40125)
  t.equal((await askToken(sandbox, { grant_type: 'x' })).errcode, 40002)
  t.equal((await askToken(sandbox, { appid: '' })).errcode, 41002)
  t.equal((await askToken(sandbox, { secret: '' })).errcode, 41004)
  t.equal((await readJson(await fetch(url))).errcode, 43002)
  t.equal(await raw('grant_type=client_credential&appid=x'), 47001)
  t.equal(await raw('[]'), 47001)
  t.equal(await raw(''), 47001)
})

t.test('getuserphonenumber checks token, code and openid, and works once', async (t) => {
  const { sandbox, advance } = await build(t)
  const { code: loginCode, openid } = sandbox.login({ appid: APPID })
  const { code } = sandbox.phoneButton({ appid: APPID, openid, phoneNumber: '60000000', countryCode: '852' })
  const token = (await askToken(sandbox)).access_token
  const foreign = (await askToken(sandbox, { appid: OTHER_APPID })).access_token
  const errcode = async (accessToken: unknown, body: Record<string, unknown>) =>
    (await askPhone(sandbox, accessToken, body)).errcode
  t.equal(await errcode('', { code }), 41001)
  t.equal(await errcode('made-up', { code }), 40001)
  t.equal(await errcode(foreign, { code }), 40013)
  t.equal(await errcode(token, { code: loginCode }), 40029, 'a login code is none')
  t.equal(await errcode(token, { code, openid: 'oSomebodyElse' }), 40003)
  t.same(await askPhone(sandbox, token, { code, openid }), {
    errcode: 0,
    errmsg: 'ok',
    phone_info: {
      phoneNumber: '+85260000000',
      purePhoneNumber: '60000000',
      countryCode: '852',
      watermark: { timestamp: Date.parse('2025-01-01') / 1000, appid: APPID }
    }
  })
  t.equal(await errcode(token, { code, openid }), 40029, 'used')
  const late = sandbox.phoneButton({ appid: APPID, openid })
  advance(300_000)
  t.equal(await errcode(token, { code: late.code }), 40029, 'expired')
  sandbox.expireToken({ appid: APPID })
  t.equal(await errcode(token, { code }), 42001)
  t.not((await askToken(sandbox)).access_token, token)
})

t.test('expireToken({sticky}) is handed out again until force_refresh', async (t) => {
  const { sandbox } = await build(t)
  t.same(sandbox.expireToken({ appid: APPID }), { expired: false })
  const { access_token: token } = await askToken(sandbox)
  sandbox.expireToken({ appid: APPID, errcode: 40001, sticky: true })
  t.equal((await askToken(sandbox)).access_token, token)
  t.equal((await askPhone(sandbox, token, {})).errcode, 40001)
  t.not((await askToken(sandbox, { force_refresh: true })).access_token, token)
})

interface DecryptVectors {
  official: DecryptVector
  shapes: DecryptVector[]
}
interface DecryptVector {
  session_key: string
  iv: string
  encryptedData: string
  plaintext: string
}
interface SignatureVector {
  rawData: string
  session_key: string
  signature: string
}

t.test('seal() and signRawData() reproduce the published vectors', async (t) => {
  const { official, shapes } = vectors<DecryptVectors>('open-data-decrypt')
  for (const vector of [official, ...shapes]) {
    const sealed = seal(vector.session_key, vector.plaintext, Buffer.from(vector.iv, 'base64'))
    t.same(sealed, { encryptedData: vector.encryptedData, iv: vector.iv })
  }
  const signatures = vectors<{ official: SignatureVector; synthetic: SignatureVector[] }>('open-data-signature')
  for (const vector of [signatures.official, ...signatures.synthetic]) {
    t.equal(signRawData(vector.rawData, vector.session_key), vector.signature)
  }
})

t.test('the acts over HTTP give open data that opens under the session_key', async (t) => {
  const { sandbox } = await build(t)
  const act = (path: string, body: unknown) => postJson(`${sandbox.origin}/sandbox/${path}`, body)
  const { code, openid } = await act('login', { appid: OTHER_APPID })
  const { session_key: key, unionid } = await readJson(
    await session(sandbox, { appid: OTHER_APPID, js_code: String(code) })
  )
  const open = (data: Record<string, unknown>) => JSON.parse(decrypt(key, String(data.encryptedData), String(data.iv)))
  const watermark = { timestamp: Date.parse('2025-01-01') / 1000, appid: OTHER_APPID }

  const data = { nickName: '微信用户', gender: 0 }
  const profile = await act('open-data', { appid: OTHER_APPID, openid, data })
  t.equal(profile.rawData, JSON.stringify(data))
  t.equal(profile.signature, createHash('sha1').update(`${profile.rawData}${key}`).digest('hex'))
  t.same(open(profile), { openId: openid, unionId: unionid, ...data, watermark })

  const steps = { stepInfoList: [{ timestamp: 1, step: 100 }] }
  t.same(open(await act('open-data', { appid: OTHER_APPID, openid, data: steps })), { ...steps, watermark })

  const phone = await act('phone-button', { appid: OTHER_APPID, openid, watermarkAppid: APPID, watermarkTimestamp: 7 })
  t.same(open(phone), {
    phoneNumber: '13000000000',
    purePhoneNumber: '13000000000',
    countryCode: '86',
    watermark: { timestamp: 7, appid: APPID }
  })

  t.match(await act('login', { appid: 'wxffffffffffffffff' }), { statusCode: 404 })
  t.match(await act('phone-button', { appid: APPID, openid }), { statusCode: 404 }, 'never logged in to that app')
  t.match(await act('login', { appid: APPID, keepSesionKey: true }), { statusCode: 400 }, 'a misspelt field')
  t.same(await act('tokens/expire', { appid: APPID }), { expired: false })
})

t.test('a POST without Content-Length gets an empty 412', async (t) => {
  const { sandbox } = await build(t)
  for (const path of [
    '/sns/jscode2session',
    '/cgi-bin/stable_token',
    '/wxa/business/getuserphonenumber',
    '/pay/unifiedorder'
  ]) {
    const body = new Blob(['{}']).stream()
    const response = await fetch(sandbox.origin + path, { method: 'POST', body, duplex: 'half' })
    t.equal(response.status, 412)
    t.equal(await response.text(), '')
  }
  t.same(
    sandbox.calls().map((call) => call.httpStatus),
    [412, 412, 412, 412]
  )
})

t.test('fault() plays queued faults in turn, then all is well', async (t) => {
  const { sandbox } = await build(t)
  const { code } = sandbox.login({ appid: APPID })
  const call = () => session(sandbox, { js_code: code })
  sandbox.fault({ api: 'code2session', errcode: -1, times: 2 })
  sandbox.fault({ api: 'code2session', garbage: true })
  sandbox.fault({ api: 'code2session', httpStatus: 502 })
  sandbox.fault({ api: 'code2session', errcode: 45011, errmsg: 'slow down, rid: 00000000-00000000-00000000' })
  sandbox.fault({ api: 'code2session', reset: true, processed: false })
  t.match(await readJson(await call()), { errcode: -1, errmsg: /^system error, rid: / })
  t.match(await readJson(await call()), { errcode: -1 })
  const garbage = await call()
  t.equal(garbage.status, 200)
  t.match(await garbage.text(), /^<!DOCTYPE html>/)
  t.equal((await call()).status, 502)
  t.same(await readJson(await call()), { errcode: 45011, errmsg: 'slow down, rid: 00000000-00000000-00000000' })
  await t.rejects(call(), { cause: { code: 'ECONNRESET' } })
  t.ok((await readJson(await call())).openid, 'none of the faults used the code')
})

t.test('a lost or late answer leaves the work done', async (t) => {
  const { sandbox } = await build(t)
  const { code } = sandbox.login({ appid: APPID })
  sandbox.fault({ api: 'code2session', reset: true, afterMs: 5 })
  await t.rejects(session(sandbox, { js_code: code }))
  t.equal((await readJson(await session(sandbox, { js_code: code }))).errcode, 40163)

  const next = sandbox.login({ appid: APPID })
  sandbox.fault({ api: 'code2session', delayMs: 100 })
  const call = async () => readJson(await session(sandbox, { js_code: next.code }))
  const answers: unknown[] = []
  await Promise.all([call(), call()].map(async (answer) => answers.push((await answer).errcode)))
  t.same(answers, [40163, undefined], 'the first to come is the last to be answered, and yet has used the code')
})

t.test('close() does not wait for a delay', async (t) => {
  const { sandbox } = await build(t)
  sandbox.fault({ api: 'code2session', delayMs: 3_600_000 })
  const refused = t.rejects(session(sandbox, {}))
  while (sandbox.calls().length === 0) await setImmediate()
  await sandbox.close()
  await refused
})

t.test('faults and calls over HTTP', async (t) => {
  const { sandbox } = await build(t)
  const url = (path: string) => `${sandbox.origin}/sandbox/${path}`
  const { code } = sandbox.login({ appid: APPID })
  const call = async () => readJson(await session(sandbox, { js_code: code }))
  await postJson(url('faults'), { api: 'code2session', errcode: 40226, times: 0 })
  t.match(await postJson(url('faults'), { api: 'nothing', errcode: 1 }), { statusCode: 400 })
  for (let count = 0; count < 3; count += 1) t.equal((await call()).errcode, 40226)
  await fetch(url('faults'), { method: 'DELETE' })
  t.ok((await call()).openid)
  const token = (await askToken(sandbox)).access_token
  await askPhone(sandbox, token, { code: 'x', openid: 'o' })

  const calls = await (await fetch(url('calls'))).text()
  const base = { api: 'code2session', at: '2025-01-01T00:00:00.000Z', method: 'GET', appid: APPID, code }
  t.same(JSON.parse(calls), [
    ...Array(3).fill({ ...base, errcode: 40226, fault: 'errcode' }),
    { ...base, errcode: 0 },
    { api: 'stable_token', at: base.at, method: 'POST', appid: APPID, errcode: 0 },
    { api: 'getuserphonenumber', at: base.at, method: 'POST', appid: APPID, openid: 'o', code: 'x', errcode: 40029 }
  ])
  t.notOk(calls.includes(SECRET) || calls.includes(String(token)), 'no secret, no token')
  await fetch(url('calls'), { method: 'DELETE' })
  t.same(sandbox.calls(), [])
})

t.test('startSandbox() refuses the same app twice', async (t) => {
  const app = { appid: APPID, secret: SECRET }
  await t.rejects(build(t, { apps: [app, app] }), RangeError)
})
