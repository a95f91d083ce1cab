/**
 * The sandbox in API security mode: the published vector through its own endpoint, and the caller's side written a
 * second time.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  constants as padding,
  randomBytes,
  sign,
  verify,
  X509Certificate
} from 'node:crypto'
import t, { type Test } from 'tap'
import type { ApiSecurity, Sandbox, SecurityFault } from '../../sandbox/index.ts'
import { additionalData, open, seal, signatureHolds } from '../../sandbox/wire/api-security.ts'
import { vectors } from '../vectors.ts'
import { APPID, askToken, build, type Json, OTHER_APPID, postJson, readJson, SECRET } from './client.ts'

interface SignatureVector {
  urlpath: string
  appid: string
  symmetricKeySn: string
  symmetricKey: string
  appPublicKeyPem: string
  request: Message & { original: { openid: string }; iv: string; data: string; authtag: string }
  response: Message & { platformCertPem: string }
}
interface Message {
  timestamp: number
  plaintext: string
  aad: string
  body: string
  headers: Record<string, string>
}

const vector = vectors<SignatureVector>('api-signature')
const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { privateKey, publicKey, pem, publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString() }
}
const [app, platform, former] = [pair(), pair(), pair()]
const symKey = randomBytes(32)
const RIGHT: ApiSecurity = {
  symKey: symKey.toString('base64'),
  symSerial: 'sym-1',
  appPublicKeyPem: app.publicPem,
  platformPrivateKeyPem: platform.pem,
  platformSerial: 'platform-1'
}

t.test('seal() reproduces the published ciphertext, open() and signatureHolds() accept both messages', async (t) => {
  const key = Buffer.from(vector.symmetricKey, 'base64')
  const { request, response, urlpath, appid } = vector
  const { iv, data, authtag } = request
  t.same(seal(key, request.aad, request.plaintext, Buffer.from(iv, 'base64')), { iv, data, authtag })
  const signers = [
    [request, createPublicKey(vector.appPublicKeyPem)],
    [response, new X509Certificate(response.platformCertPem).publicKey]
  ] as const
  for (const [{ timestamp, aad, body, plaintext, headers }, publicKey] of signers) {
    const binding = { urlpath, appid, timestamp }
    const signature = headers['Wechatmp-Signature'] ?? ''
    t.equal(additionalData(binding, vector.symmetricKeySn), aad)
    t.equal(open(key, aad, JSON.parse(body)), plaintext)
    t.ok(signatureHolds(publicKey, binding, body, signature))
    t.notOk(signatureHolds(publicKey, { ...binding, timestamp: timestamp + 1 }, body, signature))
    t.notOk(signatureHolds(publicKey, binding, `${body}\n`, signature))
  }
})

t.test('open() refuses what is not sealed so', async (t) => {
  const sealed = seal(symKey, 'a', '{}')
  const cut = Buffer.from(sealed.authtag, 'base64').subarray(0, 4).toString('base64')
  t.equal(open(symKey, 'a', sealed), '{}')
  t.equal(open(symKey, 'b', sealed), undefined)
  t.equal(open(randomBytes(32), 'a', sealed), undefined)
  t.equal(open(symKey, 'a', { ...sealed, authtag: cut }), undefined, 'the whole tag is wanted')
  t.equal(open(symKey, 'a', { ...sealed, iv: `${sealed.iv}AAAA` }), undefined)
  t.equal(open(symKey, 'a', { ...sealed, data: `${sealed.data} ` }), undefined)
  t.equal(open(symKey, 'a', { ...sealed, data: 1 }), undefined)
  t.equal(open(symKey, 'a', [sealed]), undefined)
})

t.test('the published request goes through as it stands, and stops with its last minute', async (t) => {
  const { appid, request } = vector
  let ms = (request.timestamp + 300) * 1000
  const apiSecurity = {
    ...RIGHT,
    symKey: vector.symmetricKey,
    symSerial: vector.symmetricKeySn,
    appPublicKeyPem: vector.appPublicKeyPem
  }
  const { sandbox } = await build(t, { apps: [{ appid, secret: SECRET, apiSecurity }], merchants: [], now: () => ms })
  sandbox.login({ appid, openid: request.original.openid })
  const { access_token } = await askToken(sandbox, { appid })
  const url = `${sandbox.origin}/wxa/getuserriskrank?access_token=${access_token}`
  const send = () => fetch(url, { method: 'POST', headers: request.headers, body: request.body })
  const answer = await send()
  t.match(Object.fromEntries(answer.headers), {
    'wechatmp-appid': appid,
    'wechatmp-timestamp': String(request.timestamp + 300),
    'wechatmp-serial': 'platform-1'
  })
  t.equal((await readJson(answer)).errcode, undefined, 'sealed')
  t.match(sandbox.calls().at(-1), {
    api: 'getuserriskrank',
    openid: request.original.openid,
    errcode: 0,
    decrypted: ['appid', 'openid', 'scene', 'client_ip'],
    received: { bodyBytes: Buffer.byteLength(request.body), query: '' }
  })
  ms += 1000
  t.equal((await readJson(await send())).errcode, 40240)
})

/** What a caller holds, and may get wrong on purpose. */
interface Sending {
  path: string
  fields: Json
  timestamp: number
  key: Buffer
  signer: KeyObject
  own: Json
  headers: Record<string, string | null>
  urlpath: string
}

/** The caller's side, written from docs/wechat/mini-program.md 7 and not from the sandbox. */
function write(sending: Sending): { body: string; headers: Record<string, string> } {
  const { fields, timestamp, key, signer, own, urlpath } = sending
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(`${urlpath}|${APPID}|${timestamp}|sym-1`))
  const n = randomBytes(24).toString('base64')
  const plaintext = JSON.stringify({ _n: n, _appid: APPID, _timestamp: timestamp, ...own, ...fields })
  const data = cipher.update(plaintext, 'utf8', 'base64') + cipher.final('base64')
  const body = JSON.stringify({ iv: iv.toString('base64'), data, authtag: cipher.getAuthTag().toString('base64') })
  const pss = { key: signer, padding: padding.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  const text = Buffer.from(`${urlpath}\n${APPID}\n${timestamp}\n${body}`)
  const headers = {
    'Wechatmp-Appid': APPID,
    'Wechatmp-TimeStamp': String(timestamp),
    'Wechatmp-Signature': sign('sha256', text, pss).toString('base64'),
    ...sending.headers
  }
  const given = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== null)
  return { body, headers: Object.fromEntries(given) }
}

const NOW = Date.parse('2025-01-01') / 1000

interface Caller {
  sandbox: Sandbox
  token: unknown
  openid: string
  advance(ms: number): void
  /** A sealed call with right parameters, `changes` apart. */
  send(path: string, fields: Json, changes?: Partial<Sending>): Promise<Response>
  plain(path: string, fields: Json): Promise<Json>
}

async function caller(t: Test, change: Partial<ApiSecurity> | null = {}): Promise<Caller> {
  const apiSecurity = change && { ...RIGHT, ...change }
  const apps = [
    { appid: APPID, secret: SECRET, ...(apiSecurity && { apiSecurity }) },
    { appid: OTHER_APPID, secret: SECRET }
  ]
  const { sandbox, advance } = await build(t, { apps })
  const { openid } = sandbox.login({ appid: APPID })
  const token = (await askToken(sandbox)).access_token
  const send: Caller['send'] = (path, fields, changes = {}) => {
    const urlpath = `https://api.weixin.qq.com${path}`
    const right = { path, fields, timestamp: NOW, key: symKey, signer: app.privateKey, own: {}, headers: {}, urlpath }
    const { body, headers } = write({ ...right, ...changes })
    return fetch(`${sandbox.origin}${path}?access_token=${token}`, { method: 'POST', headers, body })
  }
  const plain: Caller['plain'] = (path, fields) => postJson(`${sandbox.origin}${path}?access_token=${token}`, fields)
  return { sandbox, token, openid, advance, send, plain }
}

interface Read {
  /** Of the new and of the former certificate. */
  holds: boolean
  formerHolds: boolean
  /** undefined: the seal does not hold. */
  plaintext: string | undefined
  headers: Headers
  body: Json
}

function holds(signer: { publicKey: KeyObject }, text: Buffer, signature: string | null): boolean {
  const pss = { key: signer.publicKey, padding: padding.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  return verify('sha256', text, pss, Buffer.from(signature ?? '', 'base64'))
}

function unseal(aad: string, { iv, data, authtag }: Json): string | undefined {
  const decipher = createDecipheriv('aes-256-gcm', symKey, Buffer.from(String(iv), 'base64'), { authTagLength: 16 })
  try {
    decipher.setAAD(Buffer.from(aad)).setAuthTag(Buffer.from(String(authtag), 'base64'))
    return decipher.update(String(data), 'base64', 'utf8') + decipher.final('utf8')
  } catch {
    return undefined
  }
}

async function read(path: string, response: Response): Promise<Read> {
  const text = await response.text()
  const { headers } = response
  const [urlpath, timestamp] = [`https://api.weixin.qq.com${path}`, headers.get('wechatmp-timestamp') ?? NOW]
  const signed = Buffer.from(`${urlpath}\n${APPID}\n${timestamp}\n${text}`)
  const body = JSON.parse(text)
  return {
    holds: holds(platform, signed, headers.get('wechatmp-signature')),
    formerHolds: holds(former, signed, headers.get('wechatmp-signature-deprecated')),
    plaintext: unseal(`${urlpath}|${APPID}|${timestamp}|sym-1`, body),
    headers,
    body
  }
}

const CHECK = '/wxa/msg_sec_check'
const check = (openid: string) => ({ content: '你好', version: 2, scene: 1, openid })

t.test('a sealed request works on what was sealed, and its answer is sealed and signed', async (t) => {
  const { sandbox, openid, send } = await caller(t)
  const answer = await read(CHECK, await send(CHECK, check(openid)))
  t.ok(answer.holds)
  t.same(Object.keys(answer.body), ['iv', 'data', 'authtag'])
  t.equal(answer.headers.get('wechatmp-serial'), 'platform-1')
  t.notOk(answer.headers.has('wechatmp-serial-deprecated'))
  const content = JSON.parse(answer.plaintext ?? '')
  t.match(content, { _appid: APPID, _timestamp: NOW, errcode: 0, result: { suggest: 'pass' } })
  t.match(content._n, /^[A-Za-z0-9+/]{22}$/)
  t.match(sandbox.calls().at(-1), { openid, decrypted: ['content', 'version', 'scene', 'openid'] })

  const { code } = sandbox.phoneButton({ appid: APPID, openid })
  const phonePath = '/wxa/business/getuserphonenumber'
  const phone = await read(phonePath, await send(phonePath, { code, openid }))
  t.match(JSON.parse(phone.plaintext ?? ''), { phone_info: { purePhoneNumber: '13000000000' } })
  t.match(sandbox.calls().at(-1), { api: 'getuserphonenumber', openid, code, decrypted: ['code', 'openid'] })

  const sendPath = '/cgi-bin/message/subscribe/send'
  const message = { touser: openid, template_id: 'T1', data: { thing1: { value: '一' } } }
  t.match(
    (await read(sendPath, await send(sendPath, message))).plaintext,
    /"msgid":3\d{17}[13579]\}$/,
    'digit by digit: a double would be even'
  )
})

t.test('the refusals of an API are sealed like its successes, those of token and seal are not', async (t) => {
  const { sandbox, openid, send } = await caller(t)
  const refused = await read(CHECK, await send(CHECK, check('oNobody')))
  t.ok(refused.holds)
  t.match(JSON.parse(refused.plaintext ?? ''), { errcode: 40003, errmsg: /rid: / })
  t.match(sandbox.calls().at(-1), { errcode: 40003 })
  sandbox.fault({ api: 'msg_sec_check', errcode: 44991 })
  const busy = await read(CHECK, await send(CHECK, check(openid)))
  t.match(JSON.parse(busy.plaintext ?? ''), { errcode: 44991, _appid: APPID })
  for (const errcode of [42001, 40234]) {
    sandbox.fault({ api: 'msg_sec_check', errcode })
    t.match(await readJson(await send(CHECK, check(openid))), { errcode })
  }
  sandbox.expireToken({ appid: APPID })
  t.match(await readJson(await send(CHECK, check(openid))), { errcode: 42001 })
})

t.test('a picture goes out as it is, its refusal sealed', async (t) => {
  const { send } = await caller(t)
  const path = '/wxa/getwxacodeunlimit'
  const picture = await send(path, { scene: 'a=1' })
  t.equal(picture.headers.get('content-type'), 'image/jpeg')
  t.notOk(picture.headers.has('wechatmp-signature'))
  t.match(JSON.parse((await read(path, await send(path, { scene: '%' }))).plaintext ?? ''), { errcode: 40129 })
})

t.test('each fault of a sealed request has its errcode', async (t) => {
  const { openid, send, plain, advance } = await caller(t)
  const errcode = async (changes: Partial<Sending>) =>
    (await readJson(await send(CHECK, check(openid), changes))).errcode
  const header = (name: string, value: string | null) => errcode({ headers: { [`Wechatmp-${name}`]: value } })
  t.equal(await errcode({}), undefined)
  t.equal(await errcode({ headers: { 'Wechatmp-Serial': 'any' } }), undefined)
  t.equal(await header('TimeStamp', null), 40231)
  t.equal(await header('TimeStamp', 'soon'), 40231)
  t.equal(await header('Signature', null), 40232)
  t.equal(await header('Appid', null), 40233)
  t.equal(await header('Appid', 'wx1'), 40236)
  t.equal(await header('Appid', OTHER_APPID), 40237)
  t.equal(await header('Signature', 'AAAA'), 40234)
  t.equal(await header('TimeStamp', String(NOW + 1)), 40234)
  t.equal(await errcode({ signer: former.privateKey }), 40234)
  t.equal(await errcode({ urlpath: `http://127.0.0.1${CHECK}` }), 40234, 'only the public address counts')
  t.equal(await errcode({ urlpath: `https://api.weixin.qq.com${CHECK}?a=1` }), 40234)
  t.equal(await errcode({ key: randomBytes(32) }), 40235)
  t.equal(await errcode({ own: { _appid: OTHER_APPID } }), 40235)
  t.equal(await errcode({ own: { _timestamp: NOW - 1 } }), 40235)
  t.equal(await errcode({ own: { _timestamp: String(NOW) } }), 40235, 'a number is wanted')
  t.equal(await errcode({ own: { _n: 'short' } }), 40235)
  t.equal(await errcode({ timestamp: NOW - 301 }), 40240)
  t.equal(await errcode({ timestamp: NOW + 301 }), 40240)
  t.equal(await errcode({ timestamp: NOW - 300 }), undefined)
  t.equal((await plain(CHECK, check(openid))).errcode, 0, 'plain requests are welcome')
  advance(301_000)
  t.equal(await errcode({}), 40240)
})

t.test('`required` refuses plain requests where sealed ones are possible', async (t) => {
  const { sandbox, token, openid, send, plain } = await caller(t, { required: true })
  t.equal((await plain(CHECK, check(openid))).errcode, 40231)
  t.ok((await read(CHECK, await send(CHECK, check(openid)))).holds)
  const url = `${sandbox.origin}/cgi-bin/getcallbackip?access_token=${token}`
  t.ok((await readJson(await fetch(url))).ip_list, 'an API that does not support the mode')
})

t.test('an app without keys refuses sealed requests', async (t) => {
  const { openid, send, plain } = await caller(t, null)
  t.match(await readJson(await send(CHECK, check(openid))), { errcode: 40238 })
  t.equal((await plain(CHECK, check(openid))).errcode, 0)
})

t.test('while certificates change the answer has two signatures', async (t) => {
  const deprecated = { platformPrivateKeyPem: former.pem, platformSerial: 'platform-0' }
  const { openid, send } = await caller(t, { deprecated })
  const answer = await read(CHECK, await send(CHECK, check(openid)))
  t.ok(answer.holds)
  t.ok(answer.formerHolds)
  t.equal(answer.headers.get('wechatmp-serial-deprecated'), 'platform-0')
})

t.test('a fault spoils the one thing it names, and the work is done all the same', async (t) => {
  const { sandbox, openid, send } = await caller(t)
  const spoilt = async (apiSecurity: SecurityFault) => {
    sandbox.fault({ api: 'msg_sec_check', apiSecurity })
    const answer = await read(CHECK, await send(CHECK, check(openid)))
    t.match(sandbox.calls().at(-1), { errcode: 0, fault: 'apiSecurity' }, apiSecurity)
    return { ...answer, opens: answer.plaintext !== undefined, content: JSON.parse(answer.plaintext ?? '{}') }
  }
  const plain = await spoilt('plain')
  t.match(plain.body, { errcode: 0, result: { suggest: 'pass' } })
  t.notOk(plain.headers.has('wechatmp-signature'))
  const unsigned = await spoilt('unsigned')
  t.match(unsigned, { opens: true, holds: false })
  t.notOk(unsigned.headers.has('wechatmp-signature') || unsigned.headers.has('wechatmp-timestamp'))
  t.match(await spoilt('signature'), { opens: true, holds: false })
  const serial = await spoilt('serial')
  t.match(serial, { opens: true, holds: true })
  t.not(serial.headers.get('wechatmp-serial'), 'platform-1')
  const old = await spoilt('timestamp')
  t.match(old, { opens: true, holds: true, content: { _timestamp: NOW - 600 } })
  t.equal(old.headers.get('wechatmp-timestamp'), String(NOW - 600))
  t.match(await spoilt('body'), { opens: false, holds: false })
  t.match(await spoilt('ciphertext'), { opens: false, holds: true })
  const tag = await spoilt('tag')
  t.match(tag, { opens: false, holds: true })
  t.equal(Buffer.from(String(tag.body.authtag), 'base64').length, 4)
  const appid = await spoilt('appid')
  t.match(appid, { opens: true, holds: true, content: { _appid: APPID } })
  t.not(appid.headers.get('wechatmp-appid'), APPID)
  const innerAppid = await spoilt('inner-appid')
  t.match(innerAppid, { opens: true, holds: true })
  t.not(innerAppid.content._appid, APPID)
  t.match(await spoilt('inner-timestamp'), { opens: true, holds: true, content: { _timestamp: NOW - 1 } })
  t.ok((await read(CHECK, await send(CHECK, check(openid)))).holds, 'each was played once')
  t.match(await postJson(`${sandbox.origin}/sandbox/faults`, { api: 'msg_sec_check', apiSecurity: 'x' }), {
    statusCode: 400
  })
})

t.test('startSandbox() refuses keys that are none', async (t) => {
  const start = (change: Partial<ApiSecurity>) =>
    build(t, { apps: [{ appid: APPID, secret: SECRET, apiSecurity: { ...RIGHT, ...change } }] })
  await t.rejects(start({ symKey: randomBytes(16).toString('base64') }), RangeError)
  await t.rejects(start({ appPublicKeyPem: 'none' }))
  await t.rejects(start({ platformPrivateKeyPem: app.publicPem }))
})
