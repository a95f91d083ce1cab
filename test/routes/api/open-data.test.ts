/** Open data that is not standard JSON, open data that was changed, and how often decryption may fail. */
import { hash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { seal, signRawData } from '../../../sandbox/wire/open-data.ts'
import { APPID, type BuildOptions, build, logIn, type World } from '../../helper.ts'
import { head, listen, RawConnection } from '../../raw-http.ts'
import { startGate } from '../internal/gate.ts'
import { type Answer, callsOf, type Headers, post, refused, sessionKeyOf } from './client.ts'

const SECONDS = 1_795_392_000
/** Of a body that comes later than its head. */
const LATE_BYTES = 1024
const WATERMARK = `"watermark":{"appid":"${APPID}","timestamp":${SECONDS}}`

/** Members of a watermark that say no time. */
const UNREADABLE_TIMES = [
  'null',
  '""',
  '" "',
  `" ${SECONDS}"`,
  `"${SECONDS} "`,
  '"now"',
  '"1e9"',
  '"-1"',
  'true',
  '[]',
  '{}'
]
  .map((time) => `"timestamp":${time}`)
  .concat('"version":2')
const marked = (time: string, appid: string, openid?: string) =>
  `{${openid === undefined ? '' : `"openId":"${openid}",`}"a":1,"watermark":{"appid":"${appid}",${time}}}`

interface Caller {
  openid: string
  headers: Headers
}

async function world(t: Test, options: BuildOptions = {}) {
  const world = await build(t, options)
  const user = await logIn(world.app, world.sandbox)
  return { world, user, key: await sessionKeyOf(world, user.openid) }
}

const phone = ({ app }: World, body: object, { headers }: Caller) => post(app, '/api/phone', body, headers)
const read = ({ app }: World, body: object, { headers }: Caller) => post(app, '/api/userdata', body, headers)

function gives(t: Test, answer: Answer, body: object, name: string): void {
  t.same(answer.json(), body, name)
  t.equal(answer.statusCode, 200, name)
}

/** All that a client sees of an answer. */
const seen = ({ statusCode, headers: { date: _date, ...headers }, body }: Answer) => ({ statusCode, headers, body })

const bytes = (before: string, middle: number[], after: string) =>
  Buffer.concat([Buffer.from(before), Buffer.from(middle), Buffer.from(after)])

t.test('userdata() reads open data as WeChat writes it', async (t) => {
  const { world: here, user, key } = await world(t)
  const { openid } = user
  const mark = (change: object) => JSON.stringify({ watermark: { appid: APPID, timestamp: SECONDS, ...change } })
  const texts: [name: string, plaintext: string | Buffer, data: object][] = [
    ['a control character', `{"nickName":"a\u0008b",${WATERMARK}}`, { nickName: 'a\bb' }],
    ['a NUL inside', `{"nickName":"a\0b",${WATERMARK}}`, { nickName: 'a\0b' }],
    ['a line break', `{"nickName":"a\nb",${WATERMARK}}`, { nickName: 'a\nb' }],
    ['half a character', bytes('{"nickName":"a', [0xe5, 0xbe], `",${WATERMARK}}`), { nickName: 'a\ufffd' }],
    ['no character', bytes('{"nickName":"', [0xff], `",${WATERMARK}}`), { nickName: '\ufffd' }],
    ['a byte order mark', `\ufeff{"a":1,${WATERMARK}}`, { a: 1 }],
    ['NULs at the end', `{"a":1,${WATERMARK}}\0\0`, { a: 1 }],
    ['a line end at the end', `{"a":1,${WATERMARK}}\r\n`, { a: 1 }],
    ['digits beyond 2^53', `{"id":23456789012345678,${WATERMARK}}`, { id: '23456789012345678' }],
    ['such digits deep inside', `{"l":[{"id":-9007199254740993}],${WATERMARK}}`, { l: [{ id: '-9007199254740993' }] }],
    ['half a surrogate pair', `{"nickName":"\\ud83d",${WATERMARK}}`, { nickName: '\ud83d' }],
    ['a time as text', mark({ timestamp: String(SECONDS) }), {}],
    ['more in the watermark', mark({ version: 2 }), {}],
    ['no openId', `{"openId":null,"a":1,${WATERMARK}}`, { openId: null, a: 1 }],
    ['an empty openId', `{"openId":"","a":1,${WATERMARK}}`, { openId: '', a: 1 }],
    ['an openid in small letters', `{"openid":"${openid}",${WATERMARK}}`, { openid }],
    ['nothing but the watermark', `{${WATERMARK}}`, {}]
  ]
  for (const [name, plaintext, data] of texts) gives(t, await read(here, seal(key, plaintext), user), { data }, name)
  t.equal(
    (await read(here, seal(key, `{"id":23456789012345678,${WATERMARK}}`), user)).body,
    '{"data":{"id":"23456789012345678"}}'
  )

  const signed: [name: string, rawData: string, data: object][] = [
    ['a control character', '{"nickName":"a\u001db"}', { nickName: 'a\u001db' }],
    ['digits beyond 2^53', '{"id":23456789012345678}', { id: '23456789012345678' }],
    ['a byte order mark', '\ufeff{"a":1}', { a: 1 }],
    ['NULs at the end', '{"a":1}\0', { a: 1 }]
  ]
  for (const [name, rawData, data] of signed)
    gives(t, await read(here, { rawData, signature: signRawData(rawData, key) }, user), { data }, `rawData: ${name}`)
  const rawData = '{"a":1}'
  const signature = signRawData(rawData, key).toUpperCase()
  gives(t, await read(here, { rawData, signature }, user), { data: { a: 1 } }, 'a signature in capitals')
})

t.test(
  'userdata() says of rawData alone that it is no JSON, and tells no failure of encryptedData from another',
  async (t) => {
    const { world: here, user, key } = await world(t)
    const noObjects = [
      '[1]',
      '[]',
      'null',
      'true',
      '"x"',
      '""',
      '12',
      '1',
      '0',
      'x',
      '{',
      ' ',
      '中',
      '{}x',
      '{"a":',
      '{"a":1}x',
      '{a:1}',
      'nickName=x',
      '<xml/>',
      '{"a":'.repeat(100)
    ]
    for (const text of noObjects) {
      const answer = await read(here, { rawData: text, signature: signRawData(text, key) }, user)
      refused(t, answer, 422, 'DATA_MALFORMED')
      t.notMatch(answer.json().message, /log ?in first/)
    }
    t.equal(
      await here.app.redis.exists(here.app.keys.failedTries(APPID, user.openid)),
      0,
      'what is rightly signed is no try'
    )
    const good = seal(key, `{"a":1,${WATERMARK}}`)
    const cut = Buffer.from(good.encryptedData, 'base64')
    const failures: (readonly [name: string, data: object])[] = [
      ['no JSON', seal(key, 'nickName=x')],
      ['no object', seal(key, '[1]')],
      ['no watermark', seal(key, '{"a":1}')],
      ['an empty watermark', seal(key, '{"watermark":{}}')],
      ['a watermark without an app', seal(key, `{"watermark":{"timestamp":${SECONDS}}}`)],
      ['an app of null', seal(key, `{"watermark":{"appid":null,"timestamp":${SECONDS}}}`)],
      ...UNREADABLE_TIMES.map(
        (time) => [`another app, at ${time}`, seal(key, marked(time, 'wx00000000000000ff'))] as const
      ),
      ...UNREADABLE_TIMES.map(
        (time) => [`somebody else, at ${time}`, seal(key, marked(time, APPID, 'oSomebody'))] as const
      ),
      ['somebody else', seal(key, `{"openId":"oSomebodyElse",${WATERMARK}}`)],
      ['somebody else in small letters', seal(key, `{"openid":"oSomebodyElse",${WATERMARK}}`)],
      ['an openId that is no text', seal(key, `{"openId":7,${WATERMARK}}`)],
      ['another key', seal(Buffer.alloc(16, 1).toString('base64'), `{"a":1,${WATERMARK}}`)],
      ['another iv', { ...good, iv: Buffer.alloc(16).toString('base64') }],
      ['padding', { ...good, encryptedData: cut.subarray(0, -16).toString('base64') }],
      ['half a block', { ...good, encryptedData: cut.subarray(0, -1).toString('base64') }],
      ['half an iv', { ...good, iv: 'AAAAAAAAAAA=' }]
    ]
    const asOne = { ...user, headers: { ...user.headers, 'x-request-id': 'one' } }
    const answers: ReturnType<typeof seen>[] = []
    for (const [, data] of failures) {
      answers.push(seen(await read(here, data, asOne)))
      await here.app.redis.del(here.app.keys.failedTries(APPID, user.openid))
    }
    t.match(answers[0], { statusCode: 422, body: /DECRYPT_FAILED/ })
    for (const [index, answer] of answers.entries()) t.same(answer, answers[0], String(failures[index]?.[0]))
  }
)

t.test('userdata() asks the time of the watermark where there is an age to compare, and nowhere else', async (t) => {
  const { world: here, user, key } = await world(t, { env: { RATE_LIMIT: '0', WATERMARK_MAX_AGE: '3600' } })
  const { openid } = user
  const now = Math.floor(Date.now() / 1000)
  const ageless = { ...here, app: await here.another({ WATERMARK_MAX_AGE: '0' }) }
  const own = (time: string) => seal(key, marked(time, APPID, openid))
  const data = { openId: openid, a: 1 }
  const number = '"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":"86"'
  for (const time of UNREADABLE_TIMES) {
    gives(t, await read(ageless, own(time), user), { data }, time)
    refused(t, await read(here, own(time), user), 422, 'DECRYPT_FAILED')
    const phoneData = seal(key, `{${number},"watermark":{"appid":"${APPID}",${time}}}`)
    refused(t, await phone(ageless, phoneData, user), 422, 'DECRYPT_FAILED')
    await here.app.redis.del(here.app.keys.failedTries(APPID, openid))
  }
  for (const time of [`"timestamp":${now - 1800}`, `"timestamp":"${now + 1800}"`])
    gives(t, await read(here, own(time), user), { data }, time)
  const old = own(`"timestamp":${now - 7200}`)
  refused(t, await read(here, old, user), 422, 'WATERMARK_INVALID')
  gives(t, await read(ageless, old, user), { data }, 'old')
  const foreign = seal(key, marked(`"timestamp":${now}`, 'wx00000000000000ff'))
  for (const instance of [here, ageless]) refused(t, await read(instance, foreign, user), 422, 'WATERMARK_INVALID')
})

t.test('phone() takes exactly the shape of a phone number', async (t) => {
  const { world: here, user, key } = await world(t, { env: { RATE_LIMIT: '0' } })
  const { app } = here
  const watermark = { timestamp: SECONDS, appid: APPID }
  const home = { phoneNumber: '13580006666', purePhoneNumber: '13580006666', countryCode: '86' }
  const abroad = { phoneNumber: '+85260000000', purePhoneNumber: '60000000', countryCode: '852' }
  const good = { ...home, watermark }
  const write = (change: object, from: object = good) => JSON.stringify({ ...from, ...change })
  const foreign = { ...abroad, watermark }
  const takes: [name: string, plaintext: string, phone: object][] = [
    ['a home number', write({}), home],
    ['another order', JSON.stringify(Object.fromEntries(Object.entries(good).reverse())), home],
    ['spaces between', JSON.stringify(good, null, 2), home],
    ['the country as a number', write({ countryCode: 86 }), home],
    ['the time as text', write({ watermark: { appid: APPID, timestamp: `${SECONDS}` } }), home],
    ['a foreign number', write({}, foreign), abroad],
    ['one without +', write({ phoneNumber: '85260000000' }, foreign), { ...abroad, phoneNumber: '85260000000' }]
  ]
  for (const [name, plaintext, number] of takes) gives(t, await phone(here, seal(key, plaintext), user), number, name)

  const text = write({})
  const refusals: [name: string, plaintext: string | Buffer][] = [
    ['another number in one place', write({ phoneNumber: '13580006667' })],
    ['another number in the other', write({ purePhoneNumber: '13580006667' })],
    ['another country', write({ countryCode: '852' })],
    ['a foreign number without its country', write({ phoneNumber: '60000000' }, foreign)],
    ['a foreign number of another country', write({ phoneNumber: '+85360000000' }, foreign)],
    ['a member more', write({ note: '' })],
    ['a member more in the watermark', write({ watermark: { ...watermark, x: 1 } })],
    ['an openId', write({ openId: user.openid })],
    ['a member less', write({ countryCode: undefined })],
    ['a member twice', text.replace('{', '{"phoneNumber":"13900000000",')],
    ['a member twice, spelt otherwise', text.replace('{', '{"phone\\u004eumber":"13580006666",')],
    ['one twice in the watermark', text.replace('"appid"', '"appid":"x","appid"')],
    ['letters', write({ phoneNumber: '1358000666x', purePhoneNumber: '1358000666x' })],
    ['nothing', write({ phoneNumber: '', purePhoneNumber: '' })],
    ['numbers for texts', write({ phoneNumber: 13580006666, purePhoneNumber: 13580006666 })],
    ['lists', write({ phoneNumber: ['13580006666'] })],
    ['null', write({ countryCode: null })],
    ['a control character', write({}).replace('13580006666', '1358000\u00016666')],
    ['one between members', text.replace(',', ',\u0001')],
    ['bytes that are no text', bytes(text.slice(0, 20), [0xff, 0xfe], text.slice(20))],
    ['a byte order mark', `\ufeff${text}`],
    ['NULs at the end', `${text}\0\0`],
    [
      'digits of other scripts',
      write({ phoneNumber: '１３５８０００６６６６', purePhoneNumber: '１３５８０００６６６６' })
    ],
    ['a block of garbage', spliced(key, text)]
  ]
  for (const [name, plaintext] of refusals) {
    t.match((await phone(here, seal(key, plaintext), user)).json(), { statusCode: 422, code: 'DECRYPT_FAILED' }, name)
    await app.redis.del(app.keys.failedTries(APPID, user.openid))
  }
  t.notMatch(here.logs(), /1358000|60000000/)
})

/** The plaintext after its owner exchanged one block, as `key` decrypts it. */
function spliced(key: string, text: string): Buffer {
  return bytes(text.slice(0, 16), [...hash('sha256', key, 'buffer').subarray(0, 16)], text.slice(32))
}

t.test('thirty failures of a user in ten minutes, then nothing of theirs is opened', async (t) => {
  const { world: here, user, key } = await world(t, { env: { RATE_LIMIT: '0' } })
  const { app, sandbox } = here
  const good = seal(key, `{"a":1,${WATERMARK}}`)
  const bad = { ...good, iv: Buffer.alloc(16).toString('base64') }
  const otherSession = await logIn(app, sandbox, user.openid)
  const elsewhere = { ...here, app: await here.another() }
  const old = seal(key, `{"watermark":{"appid":"wx00000000000000ff","timestamp":${SECONDS}}}`)
  const failing: [code: string, fail: () => Promise<Answer>][] = [
    ['DECRYPT_FAILED', () => read(here, bad, user)],
    ['DECRYPT_FAILED', () => phone(here, bad, user)],
    ['DECRYPT_FAILED', () => phone(here, good, otherSession)],
    ['DECRYPT_FAILED', () => read(elsewhere, bad, otherSession)],
    ['SIGNATURE_INVALID', () => read(here, { rawData: '{}', signature: 'a'.repeat(40) }, user)],
    ['WATERMARK_INVALID', () => read(here, old, user)]
  ]
  for (let round = 0; round < 5; round++) for (const [code, fail] of failing) refused(t, await fail(), 422, code)
  const rawData = '{"a":1}'
  const nothing = [
    await read(here, good, user),
    await read(elsewhere, good, otherSession),
    await read(here, bad, user),
    await phone(here, good, user),
    await read(here, { rawData, signature: signRawData(rawData, key) }, user)
  ]
  for (const answer of nothing) {
    refused(t, answer, 429, 'RATE_LIMITED')
    const wait = Number(answer.headers['retry-after'])
    t.ok(wait > 500 && wait <= 600, 'says how long to wait')
  }
  t.match(
    (await phone(here, { code: sandbox.phoneButton({ appid: APPID, openid: user.openid }).code, ...bad }, user)).json(),
    {
      phoneNumber: '13000000000'
    }
  )
  const other = await logIn(app, sandbox)
  const othersKey = await sessionKeyOf(here, other.openid)
  gives(t, await read(here, seal(othersKey, `{"a":1,${WATERMARK}}`), other), { data: { a: 1 } }, 'another user')
  await app.redis.pexpire(app.keys.failedTries(APPID, user.openid), 0)
  gives(t, await read(here, good, user), { data: { a: 1 } }, 'when the ten minutes are over')
})

t.test('failures that come at the same time are counted all the same', async (t) => {
  const { world: here, user, key } = await world(t, { env: { RATE_LIMIT: '0' } })
  const bad = { ...seal(key, '{}'), iv: Buffer.alloc(16).toString('base64') }
  const answers = await Promise.all(Array.from({ length: 40 }, () => read(here, bad, user)))
  t.equal(answers.filter(({ statusCode }) => statusCode === 422).length, 30)
  t.equal(answers.filter(({ statusCode }) => statusCode === 429).length, 10)
  t.equal((await read(here, seal(key, `{${WATERMARK}}`), user)).statusCode, 429)
})

t.test('thirty failures are all, also beside requests that came before them', async (t) => {
  const { world: here, user, key } = await world(t, { env: { RATE_LIMIT: '0' } })
  const { app } = here
  const good = seal(key, `{"a":1,${WATERMARK}}`)
  const bad = { ...good, iv: Buffer.alloc(16).toString('base64') }
  const elsewhere = { ...here, app: await here.another() }

  const atOnce = await Promise.all([...Array.from({ length: 30 }, () => read(here, bad, user)), read(here, good, user)])
  t.equal(atOnce.at(-1)?.statusCode, 429, 'what would open, behind thirty that do not')
  await app.redis.del(app.keys.failedTries(APPID, user.openid))
  gives(t, await read(here, good, user), { data: { a: 1 } }, 'counts that are gone in Redis are forgotten')

  const port = await listen(app)
  const early = await Promise.all(Array.from({ length: 33 }, () => announce(port, user)))
  const late = await announce(port, user)
  const codes: number[] = []
  for (const connection of early) codes.push(await deliver(connection, bad))
  t.same(codes, [...Array(30).fill(422), ...Array(3).fill(429)])
  t.equal(await deliver(late, good), 429, 'its keys were read before the first failure')

  await app.redis.pexpire(app.keys.failedTries(APPID, user.openid), 0)
  const again = await Promise.all(Array.from({ length: 40 }, () => read(here, bad, user)))
  t.equal(again.filter(({ statusCode }) => statusCode === 422).length, 30, 'in the next ten minutes it is the same')
  t.equal((await read(elsewhere, good, user)).statusCode, 429)
})

/** A request whose body is still to come, once the service has read its head. */
async function announce(port: number, { headers }: Caller): Promise<RawConnection> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const length = `content-length: ${LATE_BYTES}`
  const label = 'content-type: application/json'
  const connection = new RawConnection(port)
  // Node.js sends this when the service begins to read the request.
  connection.send(
    head('POST /api/userdata HTTP/1.1', 'host: x', 'connection: close', 'expect: 100-continue', label, length, ...lines)
  )
  while (!connection.received.includes('100 Continue')) await pause(5)
  return connection
}

async function deliver(connection: RawConnection, body: object): Promise<number> {
  const answers = await connection.send(JSON.stringify(body).padEnd(LATE_BYTES)).answers()
  return answers.at(-1)?.status ?? 0
}

const EXCHANGE = 'getuserphonenumber'
const NUMBER = { phoneNumber: '13000000000', purePhoneNumber: '13000000000', countryCode: '86' }

t.test('phone() exchanges a code once, whoever of its user asks, on whichever instance', async (t) => {
  const { world: here, user } = await world(t)
  const { app, sandbox } = here
  const gate = await startGate(t, sandbox.origin)
  const slow = { WECHAT_API_ORIGIN: gate.origin }
  const [one, two] = [await here.another(slow), await here.another(slow)]
  const { code } = sandbox.phoneButton({ appid: APPID, openid: user.openid })
  gate.hold('/wxa/business/')
  const asked = [one, one, two, two].map((instance) => phone({ ...here, app: instance }, { code }, user))
  await gate.waiting(1)
  gate.open()
  for (const answer of await Promise.all(asked)) gives(t, answer, NUMBER, 'at the same time')
  gives(t, await phone(here, { code }, user), NUMBER, 'right afterwards')
  t.equal(callsOf(sandbox, EXCHANGE).length, 1, 'one call')
  t.equal(await app.redis.get(app.keys.window(`phone-codes:${APPID}:${user.openid}`)), '1', 'counted once')

  const place = app.keys.phoneCode(APPID, user.openid, hash('sha256', code, 'base64url'))
  const left = await app.redis.pttl(place)
  t.ok(left > 0 && left <= 10_000, 'for ten seconds')
  t.notMatch(Buffer.from(String(await app.redis.get(place)), 'base64').toString('latin1'), /13000000000/, 'sealed')
  const other = await logIn(app, sandbox)
  refused(t, await phone(here, { code }, other), 401, 'CODE_INVALID', { wechat: { errcode: 40029 } })
  await app.redis.del(place)
  refused(t, await phone(here, { code }, user), 401, 'CODE_INVALID', { wechat: { errcode: 40029 } })
})

t.test('phone() shares no failure of an exchange, and moves no result to another user', async (t) => {
  const { world: here, user } = await world(t)
  const { app, sandbox } = here
  const [first, second] = [0, 1].map(() => sandbox.phoneButton({ appid: APPID, openid: user.openid }).code)
  sandbox.fault({ api: EXCHANGE, errcode: 45011 })
  refused(t, await phone(here, { code: first }, user), 429, 'WECHAT_RATE_LIMITED')
  gives(t, await phone(here, { code: first }, user), NUMBER, 'the next try')
  const place = (code = '', openid = user.openid) =>
    app.keys.phoneCode(APPID, openid, hash('sha256', code, 'base64url'))
  const other = await logIn(app, sandbox)
  const sealed = String(await app.redis.get(place(first)))
  await app.redis.set(place(second, other.openid), sealed)
  refused(t, await phone(here, { code: second }, other), 502, 'WECHAT_REJECTED', { wechat: { errcode: 40003 } })
  t.equal(callsOf(sandbox, EXCHANGE).length, 3)
})
