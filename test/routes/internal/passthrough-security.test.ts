/**
 * The passthrough and our own calls under WeChat's API security mode: sealed and signed on the way, plain JSON for the
 * caller.
 */
import { createPrivateKey, createPublicKey, type JsonWebKey, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ApiSecurity, type PlatformKey, type SecurityFault, startSandbox } from '../../../sandbox/index.ts'
import { API_KEY, APPID, build, OTHER_APPID, type World } from '../../helper.ts'
import { vectors } from '../../vectors.ts'
import { passing } from './passing.ts'

interface KeyPair {
  certPem: string
  publicPem: string
  privateJwk: JsonWebKey
}

const keys = vectors('pay-keys')
const { merchant: ours, platformA, platformB } = keys as Record<'merchant' | 'platformA' | 'platformB', KeyPair>

const pemOf = ({ privateJwk }: KeyPair) =>
  createPrivateKey({ key: privateJwk, format: 'jwk' }).export({ type: 'pkcs8', format: 'pem' }).toString()
const signerOf = (pair: KeyPair, serial: string): PlatformKey => ({
  platformPrivateKeyPem: pemOf(pair),
  platformSerial: serial
})

const symKey = randomBytes(32).toString('base64')
const AT_WECHAT: ApiSecurity = {
  symKey,
  symSerial: 'sym-1',
  appPublicKeyPem: createPublicKey(ours.publicPem).export({ type: 'spki', format: 'pem' }).toString(),
  ...signerOf(platformA, 'wechat-1'),
  required: true
}
const HERE = {
  symKey,
  symSerial: 'sym-1',
  privateKey: pemOf(ours),
  publicSerial: 'ours-1',
  wechatCert: platformA.certPem,
  wechatSerial: 'wechat-1'
}

interface Change {
  atWechat?: Partial<ApiSecurity>
  here?: Partial<typeof HERE>
}

/** A gateway whose first app is in the mode, and whose second is not. */
async function securedWorld(t: Test, { atWechat = {}, here = {} }: Change = {}): Promise<World> {
  const secret = randomBytes(16).toString('hex')
  const apiSecurity = { ...AT_WECHAT, ...atWechat }
  const sandbox = await startSandbox({
    apps: [
      { appid: APPID, secret, apiSecurity },
      { appid: OTHER_APPID, secret }
    ]
  })
  t.teardown(() => sandbox.close())
  const file = join(t.testdir(), 'wechat.json')
  const apps = [
    { appid: APPID, secret, apiSecurity: { ...HERE, ...here } },
    { appid: OTHER_APPID, secret }
  ]
  writeFileSync(file, JSON.stringify({ apps }))
  const gone = ['WECHAT_APPID', 'WECHAT_SECRET', 'WECHAT_PAY_MCHID', 'WECHAT_PAY_API_V2_KEY']
  const env = {
    ...Object.fromEntries(gone.map((name) => [name, undefined])),
    WECHAT_API_ORIGIN: sandbox.origin,
    WECHAT_CONFIG_FILE: file
  }
  return { ...(await build(t, { env })), sandbox }
}

const callsTo = ({ sandbox }: World, api: string) => sandbox.calls().filter((call) => call.api === api)

const RISK = '/wxa/getuserriskrank'
const riskOf = (openid: string, appid = APPID) => ({
  method: 'POST',
  appid,
  body: JSON.stringify({ appid, openid, scene: 0, client_ip: '192.0.2.1' }),
  headers: { 'content-type': 'application/json' }
})

t.test('a call of an app in the mode is sealed; its caller sees plain JSON', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  const { openid } = world.sandbox.login({ appid: APPID })
  const got = await pass(RISK, riskOf(openid))
  t.equal(got.status, 200)
  t.equal(got.body.toString(), '{"errcode":0,"errmsg":"getuserriskrank succ","risk_rank":0,"unoin_id":2258658297}')
  t.match(got.headers, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(got.body.length),
    'cache-control': 'no-store',
    'wechatmp-signature': undefined
  })
  t.match(callsTo(world, 'getuserriskrank'), [
    { errcode: 0, decrypted: ['appid', 'openid', 'scene', 'client_ip'], received: { query: '' } }
  ])
})

t.test('parameters of the query are sealed with those of the body, whatever the method', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  const { openid } = world.sandbox.login({ appid: APPID })
  const { body } = riskOf(openid)
  const rest = body.replace('{', '{"access_token":"theirs",')
  const got = await pass(`${RISK}?x=%E5%BE%AE&openid=nobody&access_token=theirs&y=1+2`, { method: 'POST', body: rest })
  t.match(got.json(), { errcode: 0 }, 'the body wins')
  t.match(callsTo(world, 'getuserriskrank'), [
    { method: 'POST', decrypted: ['x', 'openid', 'y', 'appid', 'scene', 'client_ip'], received: { query: '' } }
  ])
  const { status, json } = await pass(`${RISK}?openid=${openid}`)
  t.same([status, json().errcode], [200, 47001], 'a GET has no fields but those of its query')
  t.match(callsTo(world, 'getuserriskrank')[1], { method: 'POST', decrypted: ['openid'] })
})

t.test('errcodes come out of the seal, and those of the mode itself come as they are', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  t.match((await pass(RISK, riskOf('nobody'))).json(), { errcode: 40003 })
  for (const errcode of [45009, -1]) {
    world.sandbox.fault({ api: 'getuserriskrank', errcode })
    t.match((await pass(RISK, riskOf('nobody'))).json(), { errcode })
  }
  for (const errcode of [40230, 40234, 40240]) {
    world.sandbox.fault({ api: 'getuserriskrank', errcode })
    const got = await pass(RISK, riskOf('nobody'))
    t.equal(got.status, 200)
    t.match(got.json(), { errcode, errmsg: /rid: / })
  }
  t.equal(callsTo(world, 'getuserriskrank').length, 6, 'none is asked twice')
})

t.test('what our keys are not good for is said in the words of WeChat', async (t) => {
  const cases: [change: Change, answer: object][] = [
    [{ atWechat: { appPublicKeyPem: platformB.publicPem } }, { errcode: 40234 }],
    [{ here: { symKey: randomBytes(32).toString('base64') } }, { errcode: 40235 }],
    [{ here: { symSerial: 'sym-2' } }, { errcode: 40235 }],
    [{ here: { wechatCert: platformB.certPem } }, { code: 'WECHAT_BAD_RESPONSE' }],
    [{ here: { wechatSerial: 'wechat-2' } }, { code: 'WECHAT_BAD_RESPONSE' }]
  ]
  for (const [change, answer] of cases) {
    const world = await securedWorld(t, change)
    const pass = await passing(world.app)
    t.match((await pass(RISK, riskOf('nobody'))).json(), answer)
  }
  t.equal(cases.length, 5)
})

t.test('an answer that WeChat did not protect is not believed', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  const { openid } = world.sandbox.login({ appid: APPID })
  const faults: Record<SecurityFault, RegExp> = {
    plain: /not signed/,
    unsigned: /not signed/,
    signature: /signature is wrong/,
    serial: /another certificate/,
    timestamp: /too old/,
    body: /signature is wrong/,
    ciphertext: /does not open/,
    tag: /wrong length/,
    appid: /appid or timestamp/,
    'inner-appid': /_appid or _timestamp/,
    'inner-timestamp': /_appid or _timestamp/
  }
  for (const [apiSecurity, reason] of Object.entries(faults) as [SecurityFault, RegExp][]) {
    world.sandbox.fault({ api: 'getuserriskrank', apiSecurity })
    const got = await pass(RISK, riskOf(openid))
    t.match(got.json(), { statusCode: 502, code: 'WECHAT_BAD_RESPONSE' }, apiSecurity)
    t.notMatch(got.body.toString(), /risk_rank|getuserriskrank/)
    t.match(world.logs().trimEnd().split('\n').at(-1), reason)
  }
  t.equal(callsTo(world, 'getuserriskrank').length, Object.keys(faults).length, 'none is asked twice')
  world.sandbox.fault({ api: 'getuserriskrank', garbage: true })
  t.match((await pass(RISK, riskOf(openid))).json(), { code: 'WECHAT_BAD_RESPONSE' })
  const picture = await pass('/wxa/getwxacodeunlimit', { method: 'POST', body: '{"scene":"a=1"}' })
  t.equal(picture.headers['content-type'], 'image/jpeg', 'a picture comes without a signature, and decides nothing')
  t.same([...picture.body.subarray(0, 2)], [0xff, 0xd8])
  t.match((await pass(RISK, riskOf(openid))).json(), { errcode: 0 })
})

t.test('a stale token is renewed under the mode too, and the call sealed anew', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  const { openid } = world.sandbox.login({ appid: APPID })
  await pass(RISK, riskOf(openid))
  world.sandbox.expireToken({ appid: APPID })
  world.sandbox.clearCalls()
  t.match((await pass(RISK, riskOf(openid))).json(), { errcode: 0, risk_rank: 0 })
  t.same(
    world.sandbox.calls().map(({ api, errcode }) => [api, errcode]),
    [
      ['getuserriskrank', 42001],
      ['stable_token', 0],
      ['getuserriskrank', 0]
    ]
  )
  const [first, second] = callsTo(world, 'getuserriskrank')
  t.not(first?.received?.bodySha256, second?.received?.bodySha256)
})

t.test('while WeChat changes its certificate the old one still does, and the log says so once', async (t) => {
  const change = { ...signerOf(platformB, 'wechat-2'), deprecated: signerOf(platformA, 'wechat-1') }
  const world = await securedWorld(t, { atWechat: change })
  const pass = await passing(world.app)
  const { openid } = world.sandbox.login({ appid: APPID })
  for (const _ of [1, 2]) t.match((await pass(RISK, riskOf(openid))).json(), { errcode: 0 })
  const warnings = world
    .logs()
    .split('\n')
    .filter((line) => line.includes('replaces its certificate'))
  t.equal(warnings.length, 1)
  t.match(JSON.parse(warnings[0] ?? ''), { level: 40, appid: APPID })

  const renewed = await securedWorld(t, {
    atWechat: change,
    here: { wechatCert: platformB.certPem, wechatSerial: 'wechat-2' }
  })
  const passThere = await passing(renewed.app)
  t.match((await passThere(RISK, riskOf('nobody'))).json(), { errcode: 40003 })
  t.notMatch(renewed.logs(), /replaces its certificate/)
})

t.test('a body that cannot be sealed is not sent', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  for (const body of ['{"a":', '[]', 'a=b', '\ufeff{}', Buffer.from([0x7b, 0xff, 0x7d])]) {
    const got = await pass(RISK, { method: 'POST', body })
    t.match(got.json(), { statusCode: 400, code: 'FST_ERR_CTP_INVALID_JSON_BODY', requestId: /./ })
  }
  t.same(world.sandbox.calls(), [])
})

t.test('other apps, and APIs without the mode, are passed on untouched', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  const { openid } = world.sandbox.login({ appid: OTHER_APPID })
  t.match((await pass(RISK, riskOf(openid, OTHER_APPID))).json(), { errcode: 0 })
  const { body } = riskOf(openid, OTHER_APPID)
  const [call] = callsTo(world, 'getuserriskrank')
  t.match(call, { appid: OTHER_APPID, decrypted: undefined, received: { bodyBytes: body.length } })
  t.match((await pass('/cgi-bin/getcallbackip')).json(), { ip_list: [/./, /./] })
  t.match(callsTo(world, 'getcallbackip'), [{ appid: APPID, method: 'GET', decrypted: undefined }])
})

t.test('POST /api/phone exchanges its code under the mode', async (t) => {
  const world = await securedWorld(t)
  const { app, sandbox } = world
  const { code: loginCode } = sandbox.login({ appid: APPID })
  const login = await app.inject({ method: 'POST', url: '/api/login', payload: { code: loginCode, appid: APPID } })
  const { token, openid } = login.json()
  const headers = { authorization: `Bearer ${token}` }
  const ask = (code: string) => app.inject({ method: 'POST', url: '/api/phone', headers, payload: { code } })
  const { code } = sandbox.phoneButton({ appid: APPID, openid, phoneNumber: '13912345678' })
  t.match((await ask(code)).json(), { purePhoneNumber: '13912345678', countryCode: '86' })
  t.match(callsTo(world, 'getuserphonenumber'), [{ decrypted: ['code', 'openid'], errcode: 0 }])
  t.match((await ask('nobodys')).json(), { statusCode: 401, code: 'CODE_INVALID', wechat: { errcode: 40029 } })

  const again = () => sandbox.phoneButton({ appid: APPID, openid }).code
  sandbox.fault({ api: 'getuserphonenumber', apiSecurity: 'unsigned' })
  t.match((await ask(again())).json(), { statusCode: 502, code: 'WECHAT_BAD_RESPONSE' })
  sandbox.fault({ api: 'getuserphonenumber', errcode: 40234 })
  t.match((await ask(again())).json(), { statusCode: 500, code: 'WECHAT_CONFIG_INVALID', wechat: { errcode: 40234 } })
  sandbox.expireToken({ appid: APPID })
  t.match(await ask(again()), { statusCode: 200 }, 'a stale token is renewed')
})

t.test('no key of the mode is ever logged or answered', async (t) => {
  const world = await securedWorld(t)
  const pass = await passing(world.app)
  await pass(RISK, riskOf('secret-openid'))
  world.sandbox.fault({ api: 'getuserriskrank', apiSecurity: 'tag' })
  await pass(RISK, riskOf('secret-openid'))
  const lines = world.logs()
  const privateLine = HERE.privateKey.split('\n')[3] ?? '?'
  for (const secret of [symKey, privateLine, 'secret-openid', API_KEY, 'access_token']) t.notOk(lines.includes(secret))
  t.ok(lines.includes('wrong length'))
})
