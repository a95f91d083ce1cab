/** The API security mode against the published vector, a second implementation of WeChat's side, and forgers. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  X509Certificate
} from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import type { Incoming } from '../../../lib/http/exchange.ts'
import { openAnswer } from '../../../lib/wechat/api-security/answer.ts'
import { readMembers, writeMembers } from '../../../lib/wechat/api-security/members.ts'
import { freshnessAt, sealRequest, signRequest } from '../../../lib/wechat/api-security/request.ts'
import { vectors } from '../../vectors.ts'

const vector = vectors('api-signature')
const ours = generateKeyPairSync('rsa', { modulusLength: 2048 })
const wechat = generateKeyPairSync('rsa', { modulusLength: 2048 })
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })

/** Those of the vector; the private key is not published with it. */
const vectorKeys = {
  appid: vector.appid,
  symKey: createSecretKey(Buffer.from(vector.symmetricKey, 'base64')),
  symSerial: vector.symmetricKeySn,
  privateKey: ours.privateKey,
  wechatKey: new X509Certificate(vector.response.platformCertPem).publicKey,
  wechatSerial: vector.response.platformCertSn
}

const PATH = 'https://api.weixin.qq.com/wxa/getuserriskrank'
const APPID = 'wx0123456789abcdef'
const symKey = randomBytes(32)
const keys = {
  appid: APPID,
  symKey: createSecretKey(symKey),
  symSerial: 'sym-1',
  privateKey: ours.privateKey,
  wechatKey: wechat.publicKey,
  wechatSerial: 'wechat-1'
}
const NOW_SECONDS = 1_700_000_000
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }

const pss = (key: KeyObject, text: string) => sign('sha256', Buffer.from(text), { key, ...PSS }).toString('base64')
const members = (value: object) => readMembers(Buffer.from(JSON.stringify(value))) ?? new Map()

function seal(plaintext: string, aad: string, tagBytes = 16) {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', symKey, iv).setAAD(Buffer.from(aad))
  const data = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]).toString('base64')
  const authtag = cipher.getAuthTag().subarray(0, tagBytes).toString('base64')
  return JSON.stringify({ iv: iv.toString('base64'), data, authtag })
}

interface Said {
  plaintext?: string
  timestamp?: number
  appid?: string
  /** Within the seal. */
  urlpath?: string
  symSerial?: string
  tagBytes?: number
  /** What is signed: right by default. */
  signed?: string
  body?: string
  key?: KeyObject
  headers?: Record<string, string | string[] | undefined>
}

/** An answer of WeChat that is right, except for the given changes. */
function answerOf(said: Said = {}): Incoming {
  const { timestamp = NOW_SECONDS, appid = APPID, urlpath = PATH, symSerial = 'sym-1' } = said
  const own = { _n: 'ShYZpqdVgY+yQVAxNSWhYg', _appid: APPID, _timestamp: timestamp }
  const plaintext = said.plaintext ?? JSON.stringify({ ...own, errcode: 0, risk_rank: 0 })
  const body = said.body ?? seal(plaintext, `${urlpath}|${APPID}|${timestamp}|${symSerial}`, said.tagBytes)
  const signature = pss(said.key ?? wechat.privateKey, said.signed ?? `${PATH}\n${APPID}\n${timestamp}\n${body}`)
  return {
    status: 200,
    body: Buffer.from(body),
    headers: {
      'content-type': 'text/plain',
      'wechatmp-appid': appid,
      'wechatmp-timestamp': String(timestamp),
      'wechatmp-serial': 'wechat-1',
      'wechatmp-signature': signature,
      ...said.headers
    }
  }
}

const open = (answer: Incoming) => openAnswer(keys, PATH, answer, NOW_SECONDS * 1000)
const contentOf = (answer: Incoming) => open(answer).answer.body.toString()

t.test('sealRequest() reproduces the published body', async (t) => {
  const { original, n, timestamp, iv, body } = vector.request
  const fresh = { n, timestamp, iv: Buffer.from(iv, 'base64') }
  t.equal(sealRequest(vectorKeys, vector.urlpath, members(original), fresh).toString(), body)
})

t.test('signRequest() signs what the published signature signs', async (t) => {
  const { timestamp, body, signedString, signature } = vector.request
  const fresh = { timestamp, n: '', iv: Buffer.alloc(12) }
  const published = { key: createPublicKey(vector.appPublicKeyPem), ...PSS }
  t.ok(verify('sha256', Buffer.from(signedString), published, Buffer.from(signature, 'base64')))
  const headers = await signRequest(vectorKeys, vector.urlpath, fresh, Buffer.from(body))
  const { 'wechatmp-signature': made = '', ...rest } = headers
  t.same(rest, { 'wechatmp-appid': vector.appid, 'wechatmp-timestamp': String(timestamp) })
  const own = { key: ours.publicKey, ...PSS }
  t.ok(verify('sha256', Buffer.from(signedString), own, Buffer.from(made, 'base64')), 'with a salt of 32 bytes')
})

t.test('openAnswer() reads the published answer, and only within its five minutes', async (t) => {
  const { timestamp, headers, body } = vector.response
  const lower = Object.fromEntries(Object.entries<string>(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const answer = { status: 200, headers: lower, body: Buffer.from(body) }
  const at = (seconds: number) => openAnswer(vectorKeys, vector.urlpath, answer, (timestamp + seconds) * 1000)
  for (const seconds of [-300, 0, 300]) {
    const opened = at(seconds)
    t.equal(
      opened.answer.body.toString(),
      '{"errcode":0,"errmsg":"getuserriskrank succ","risk_rank":0,"unoin_id":2258658297}'
    )
    t.equal(opened.certificateEnds, false)
  }
  for (const seconds of [-301, 301]) t.throws(() => at(seconds), { code: 'WECHAT_BAD_RESPONSE', detail: /too old/ })
})

t.test('openAnswer() knows which signature is of its certificate', async (t) => {
  const right = answerOf()
  const { 'wechatmp-serial': serial, 'wechatmp-signature': signature } = right.headers
  const next = { 'wechatmp-serial': 'wechat-2', 'wechatmp-signature': pss(stranger.privateKey, 'x') }
  const changing = {
    ...right,
    headers: {
      ...right.headers,
      ...next,
      'wechatmp-serial-deprecated': serial,
      'wechatmp-signature-deprecated': signature
    }
  }
  const opened = open(changing)
  t.equal(opened.certificateEnds, true)
  t.equal(opened.answer.body.toString(), '{"errcode":0,"risk_rank":0}')
  t.equal(open(right).certificateEnds, false)
  const swapped = {
    ...changing,
    headers: { ...changing.headers, 'wechatmp-signature-deprecated': next['wechatmp-signature'] }
  }
  t.throws(() => open(swapped), { code: 'WECHAT_BAD_RESPONSE', detail: /signature is wrong/ })
  t.throws(() => open({ ...right, headers: { ...right.headers, ...next } }), {
    code: 'WECHAT_BAD_RESPONSE',
    detail: /another certificate/
  })
})

t.test('openAnswer() believes nothing that a forger could have made', async (t) => {
  const body = answerOf().body.toString()
  const own = { _n: 'n', _appid: APPID, _timestamp: NOW_SECONDS }
  const forged: Record<string, [answer: Incoming, reason: RegExp]> = {
    'a body changed by one byte': [{ ...answerOf(), body: Buffer.from(`${body} `) }, /signature is wrong/],
    'signed by another': [answerOf({ key: stranger.privateKey }), /signature is wrong/],
    'signed for another API': [
      answerOf({ body, signed: `${PATH}x\n${APPID}\n${NOW_SECONDS}\n${body}` }),
      /signature is wrong/
    ],
    'signed for another second': [
      answerOf({ body, signed: `${PATH}\n${APPID}\n${NOW_SECONDS + 1}\n${body}` }),
      /signature is wrong/
    ],
    'no signature that is base64': [answerOf({ headers: { 'wechatmp-signature': '*' } }), /signature is wrong/],
    'an empty signature': [answerOf({ headers: { 'wechatmp-signature': '' } }), /signature is wrong/],
    'two signatures': [answerOf({ headers: { 'wechatmp-signature': ['a', 'b'] } }), /signature is wrong/],
    'another appid': [answerOf({ appid: 'wxffffffffffffffff' }), /appid or timestamp/],
    'no appid': [answerOf({ headers: { 'wechatmp-appid': undefined } }), /appid or timestamp/],
    'no timestamp': [answerOf({ headers: { 'wechatmp-timestamp': undefined } }), /appid or timestamp/],
    'a timestamp that is none': [answerOf({ headers: { 'wechatmp-timestamp': '1e9' } }), /appid or timestamp/],
    'no serial': [answerOf({ headers: { 'wechatmp-serial': undefined } }), /another certificate/],
    'too old': [answerOf({ timestamp: NOW_SECONDS - 301 }), /too old/],
    'from the future': [answerOf({ timestamp: NOW_SECONDS + 301 }), /too old/],
    'signed but not sealed': [answerOf({ body: '{"errcode":0,"risk_rank":0}' }), /not sealed/],
    'signed and no JSON': [answerOf({ body: '{"iv":' }), /not sealed/],
    'sealed for another API': [answerOf({ urlpath: `${PATH}x` }), /does not open/],
    'sealed with another key number': [answerOf({ symSerial: 'sym-2' }), /does not open/],
    'a shortened tag': [answerOf({ tagBytes: 4 }), /wrong length/],
    'a tag of 12 bytes': [answerOf({ tagBytes: 12 }), /wrong length/],
    'another _appid': [answerOf({ plaintext: JSON.stringify({ ...own, _appid: 'wxffffffffffffffff' }) }), /_appid or/],
    'another _timestamp': [
      answerOf({ plaintext: JSON.stringify({ ...own, _timestamp: NOW_SECONDS - 1 }) }),
      /_appid or/
    ],
    'no _timestamp': [answerOf({ plaintext: JSON.stringify({ _appid: APPID }) }), /_appid or/],
    'a list': [answerOf({ plaintext: '[]' }), /no JSON object/]
  }
  for (const [name, [answer, detail]] of Object.entries(forged))
    t.throws(() => open(answer), { code: 'WECHAT_BAD_RESPONSE', detail }, name)
  t.equal(Object.keys(forged).length, 24)
  t.equal(contentOf(answerOf()), '{"errcode":0,"risk_rank":0}')
})

t.test(
  'openAnswer() takes unsigned what WeChat refuses before it can sign, and of that only the refusal',
  async (t) => {
    const unsigned = (body: string, status = 200): Incoming => ({
      status,
      headers: { 'content-type': 'image/png' },
      body: Buffer.from(body)
    })
    for (const errcode of [40001, 40014, 42001, 40230, 40234, 40240]) {
      const { answer, certificateEnds } = open(unsigned(`{"errcode":${errcode}, "errmsg":"no \\u2028","risk_rank":0}`))
      t.equal(answer.body.toString(), `{"errcode":${errcode},"errmsg":"no \\u2028"}`)
      t.same(answer.headers, { 'content-type': 'application/json; charset=utf-8' })
      t.equal(certificateEnds, false)
    }
    const dressed: [content: Buffer | string, opened: string, encoding?: string][] = [
      ['\uFEFF {"errcode":40001,"errmsg":"a"}\n', '{"errcode":40001,"errmsg":"a"}'],
      ['{"errcode":"42001","errmsg":"a"}', '{"errcode":"42001","errmsg":"a"}'],
      ['{"errcode":40014,"errmsg":"a\nb"}', '{"errcode":40014,"errmsg":"a\\nb"}'],
      [gzipSync('{"errcode":40001,"errmsg":"a"}'), '{"errcode":40001,"errmsg":"a"}', 'gzip'],
      [deflateSync(' {"errcode":40234,"errmsg":"a"}'), '{"errcode":40234,"errmsg":"a"}', 'deflate']
    ]
    for (const [content, opened, encoding] of dressed) {
      const { answer } = open({ status: 200, headers: { 'content-encoding': encoding }, body: Buffer.from(content) })
      t.equal(answer.body.toString(), opened)
      t.same(answer.headers, { 'content-type': 'application/json; charset=utf-8' })
    }
    t.equal(contentOf(unsigned('{"errcode":40234,"errmsg":{"risk_rank":0}}')), '{"errcode":40234,"errmsg":""}')
    const others = [
      '{"errcode":0,"risk_rank":0}',
      '{"risk_rank":0}',
      '{"errcode":-1}',
      '{"errcode":45009}',
      '{"errcode":40229}',
      '{"errcode":40241}',
      '{"errcode":"40234"}',
      '[{"errcode":40234}]',
      '<html>',
      ''
    ]
    for (const body of others)
      t.throws(() => open(unsigned(body)), { code: 'WECHAT_BAD_RESPONSE', detail: /not signed/ }, body)
    t.throws(() => open(unsigned('', 502)), { code: 'WECHAT_BAD_RESPONSE', detail: /not signed/ })
    t.equal(others.length, 10)
  }
)

t.test('openAnswer() takes a signed image as it is, since only JSON can be sealed', async (t) => {
  const image = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10])
  const head = Buffer.from(`${PATH}\n${APPID}\n${NOW_SECONDS}\n`)
  const signature = sign('sha256', Buffer.concat([head, image]), { key: wechat.privateKey, ...PSS }).toString('base64')
  const signed = answerOf({ headers: { 'wechatmp-signature': signature, 'content-disposition': 'attachment' } })
  const { answer } = open({ ...signed, body: image })
  t.ok(answer.body.equals(image))
  t.same(answer.headers, { 'content-type': 'text/plain' }, 'headers are not signed')
  t.throws(() => open({ ...signed, body: Buffer.concat([image, image]) }), {
    code: 'WECHAT_BAD_RESPONSE',
    detail: /signature is wrong/
  })
})

/** As WeChat opens a request. */
function unsealAsWechat(body: Buffer): string {
  const { iv, data, authtag } = JSON.parse(body.toString())
  const decipher = createDecipheriv('aes-256-gcm', symKey, Buffer.from(iv, 'base64'), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(`${PATH}|${APPID}|${NOW_SECONDS}|sym-1`)).setAuthTag(Buffer.from(authtag, 'base64'))
  return decipher.update(data, 'base64', 'utf8') + decipher.final('utf8')
}

t.test('sealRequest() and openAnswer() keep every value as it was written', async (t) => {
  const values = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue())
  const ids = fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n })
  const property = fc.property(values, ids, fc.constantFrom(undefined, 1, '\t'), (object, id, indent) => {
    const written = Object.entries(object).map(
      ([name, value]) => `${JSON.stringify(name)} :\n${JSON.stringify(value, null, indent)}`
    )
    const text = `{ ${[`"msgid" : ${id}`, ...written].join(' ,\n')} }`
    const parameters = readMembers(Buffer.from(text)) ?? new Map()
    const plaintext = unsealAsWechat(sealRequest(keys, PATH, parameters, freshnessAt(NOW_SECONDS * 1000)))
    const own = { _appid: APPID, _timestamp: NOW_SECONDS }
    const { _n, ...sealed } = JSON.parse(plaintext)
    const back = contentOf(answerOf({ plaintext }))
    return (
      isDeepStrictEqual(sealed, { ...JSON.parse(text), ...own }) &&
      isDeepStrictEqual(JSON.parse(back), JSON.parse(text)) &&
      [plaintext, back].every((json) => json.includes(`"msgid":${id}`))
    )
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 100 }))
})

t.test('sealRequest() lets no parameter pass for one of its own', async (t) => {
  const given = { _n: 'x', _appid: 'wxffffffffffffffff', _timestamp: 1, openid: 'o' }
  const { _n, ...sealed } = JSON.parse(
    unsealAsWechat(sealRequest(keys, PATH, members(given), freshnessAt(NOW_SECONDS * 1000)))
  )
  t.match(_n, /^[A-Za-z0-9+/]{22,43}={0,2}$/)
  t.same(sealed, { _appid: APPID, _timestamp: NOW_SECONDS, openid: 'o' })
})

t.test('readMembers() takes objects apart, and nothing else', async (t) => {
  const rows: [text: string, members: [string, string][]][] = [
    ['{}', []],
    [' { } ', []],
    ['{"a":1}', [['a', '1']]],
    [
      '{ "a" : 12345678901234567890 , "b":-0 }',
      [
        ['a', '12345678901234567890'],
        ['b', '-0']
      ]
    ],
    [
      '{"a":{"b":"}"},"c":[1,{"d":"],\\""}]}',
      [
        ['a', '{"b":"}"}'],
        ['c', '[1,{"d":"],\\""}]']
      ]
    ],
    [
      '{"a\\"b":"\\\\","c":"微\\u4fe1"}',
      [
        ['a"b', '"\\\\"'],
        ['c', '"微\\u4fe1"']
      ]
    ],
    ['{"a":1,"a":2}', [['a', '2']]],
    ['{"\\u0061":1.50e3}', [['a', '1.50e3']]],
    ['{"__proto__":null}', [['__proto__', 'null']]]
  ]
  for (const [text, expected] of rows) {
    const found = readMembers(Buffer.from(text)) ?? new Map([['none', '']])
    t.same([...found], expected, text)
    t.same(JSON.parse(writeMembers(found)), JSON.parse(text), text)
  }
  const none = ['', 'null', '[]', '[{}]', '"{}"', '1', '{', '{"a":}', '{a:1}', '{"a":1}x', '\ufeff{}']
  for (const text of none) t.equal(readMembers(Buffer.from(text)), undefined, text)
  t.equal(readMembers(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), undefined, 'not UTF-8')
  const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
  t.equal(readMembers(Buffer.from(deep))?.get('a')?.length, 200_000, 'as deep as it likes')
  t.equal(rows.length + none.length, 20)
})

t.test('freshnessAt() never gives the same twice', async (t) => {
  const some = Array.from({ length: 200 }, () => freshnessAt(1_999))
  t.equal(new Set(some.map(({ n }) => n)).size, 200)
  t.equal(new Set(some.map(({ iv }) => iv.toString('hex'))).size, 200)
  t.ok(new Set(some.map(({ n }) => n.length)).size > 1, 'of varying length')
  t.same(new Set(some.map(({ timestamp, iv }) => `${timestamp} ${iv.length}`)), new Set(['1 12']))
})
