/**
 * The cryptography of WeChat Pay APIv3, against the published vectors: requests, paySign, verification, encrypted
 * resources.
 */
import {
  constants,
  createCipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
  X509Certificate
} from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  authorizationV3,
  isCertificateSerial,
  joinLines,
  openResource,
  payParamsV3,
  type SignedV3,
  verifyV3
} from '../../../lib/pay/v3/crypto.ts'
import { createApiV3Key, readCredentialsV3 } from '../../../lib/pay/v3/keys.ts'
import { vectors } from '../../vectors.ts'

const keys = vectors('pay-keys')
const merchantKey = createPrivateKey({ key: keys.merchant.privateJwk, format: 'jwk' })
const platformKey = createPrivateKey({ key: keys.platformA.privateJwk, format: 'jwk' })
const serial: string = keys.platformA.serial
const heldKeys = new Map([[serial, createPublicKey(platformKey)]])
const nowMs = 1_735_689_702_000

t.test('authorizationV3() signs every request of the vectors', async (t) => {
  const { cases } = vectors('pay-v3-request-sign')
  const own = cases.filter((each: { expected: object }) => 'authorization' in each.expected)
  for (const { name, input, expected } of own) {
    const { url: path, mchid, serial: certSerial, ...request } = input
    const headers = authorizationV3(
      { ...request, path, timestamp: Number(input.timestamp) },
      { mchid, certSerial, privateKey: merchantKey }
    )
    t.equal(headers, expected.authorization, name)
  }
  t.equal(own.length, 8)
})

t.test('joinLines() builds the messages that WeChat published signatures for', async (t) => {
  const { cases } = vectors('pay-v3-request-sign')
  for (const { name, input, expected } of cases) {
    const message = joinLines([input.method, input.url, input.timestamp, input.nonce, Buffer.from(input.body)])
    t.equal(message.toString(), expected.message, name)
    const publicKey = input.publicKeyPem ?? keys.merchant.publicPem
    t.ok(verify('sha256', message, publicKey, Buffer.from(expected.signature, 'base64')), name)
  }
  t.equal(cases.length, 10)
})

t.test('authorizationV3() takes a request without a body, and a path as it is sent', async (t) => {
  const { input, expected } = findCase('pay-v3-request-sign.json', 'out_trade_no with | and *')
  const path = `/v3/pay/transactions/out-trade-no/${encodeURIComponent(input.outTradeNo)}?mchid=${input.mchid}`
  const { nonce } = input
  const timestamp = Number(input.timestamp)
  const signer = { mchid: input.mchid, certSerial: input.serial, privateKey: merchantKey }
  t.equal(authorizationV3({ method: 'GET', path, timestamp, nonce }, signer), expected.authorization)
})

t.test('payParamsV3() gives the paySign of every vector', async (t) => {
  const [official, own] = vectors('pay-v3-paysign').cases
  const { appId, timeStamp, nonceStr, package: prepay } = own.input
  const prepayId = prepay.replace('prepay_id=', '')
  const params = payParamsV3({ appid: appId, prepayId, privateKey: merchantKey, timeStamp, nonceStr })
  t.strictSame(params, own.expected.payParams, own.name)
  const lines = joinLines([
    official.input.appId,
    official.input.timeStamp,
    official.input.nonceStr,
    official.input.package
  ])
  t.equal(lines.toString(), official.expected.message, official.name)
  t.ok(verify('sha256', lines, official.input.publicKeyPem, Buffer.from(official.expected.paySign, 'base64')))
})

t.test('readCredentialsV3() makes the keys of a merchant once, where it has them', async (t) => {
  const pem = merchantKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const { id, publicPem } = keys.platformPublicKey
  const v3 = {
    mchid: keys.mchid,
    apiV3Key: keys.apiV3Key,
    certSerial: keys.merchant.serial,
    privateKey: pem,
    appids: []
  }
  const credentials = readCredentialsV3({ ...v3, publicKeyId: id, publicKey: publicPem })
  t.ok(credentials?.privateKey.equals(merchantKey))
  t.ok(credentials?.apiV3Key.equals(createApiV3Key(keys.apiV3Key)))
  t.ok(credentials?.publicKey?.key.equals(createPublicKey(publicPem)))
  t.match(credentials, { mchid: keys.mchid, certSerial: keys.merchant.serial, publicKey: { id } })
  t.notOk('publicKey' in (readCredentialsV3(v3) ?? {}))
  t.equal(readCredentialsV3({ mchid: keys.mchid, apiV2Key: keys.apiV2Key, appids: [] }), undefined)
  t.throws(() => createApiV3Key(keys.apiV3Key.slice(1)), RangeError)
  t.throws(() => createApiV3Key(`${keys.apiV3Key.slice(1)}é`), RangeError, 'bytes count, not characters')
})

t.test('verifyV3() gives the verdict of every vector', async (t) => {
  const words: Record<string, string> = {
    header: 'missing-header',
    timestamp: 'stale',
    serial: 'unknown-serial',
    signature: 'bad-signature',
    probe: 'bad-signature'
  }
  const { cases } = vectors('pay-v3-verify')
  const seen: Record<string, number> = {}
  for (const { name, input, expected } of cases) {
    const message = { headers: input.headers, body: Buffer.from(input.body) }
    const verified = verifyV3(message, trustOf(input.trust), input.now * 1000)
    const word = verified.status === 'refused' ? verified.reason : 'valid'
    t.equal(words[word] ?? word, expected.verdict, name)
    seen[word] = (seen[word] ?? 0) + 1
  }
  t.strictSame(seen, { valid: 10, signature: 6, probe: 2, timestamp: 3, serial: 1, header: 4 })
})

t.test('verifyV3() tells whose key it was and how old the message is', async (t) => {
  const message = signedMessage('{}')
  t.strictSame(verifyV3(message, heldKeys, nowMs + 7400), { status: 'verified', serial, skewSeconds: 7 })
  t.strictSame(verifyV3(message, new Map(), nowMs - 2000), {
    status: 'refused',
    reason: 'serial',
    serial,
    skewSeconds: -2
  })
  t.equal(verifyV3(message, heldKeys, nowMs + 299_999).status, 'verified')
  t.match(verifyV3(message, heldKeys, nowMs + 300_000), { reason: 'timestamp', serial, skewSeconds: 300 })
})

t.test('verifyV3() tells a probe from a forgery, but never sooner than the time', async (t) => {
  const { headers, body } = signedMessage('{}')
  const probe = { ...headers, 'wechatpay-signature': 'WECHATPAY/SIGNTEST/AAAA' }
  t.match(check({ headers: probe, body }), { reason: 'probe' })
  t.match(verifyV3({ headers: probe, body }, new Map(), nowMs), { reason: 'probe' }, 'no key has to be fetched for it')
  t.match(verifyV3({ headers: probe, body }, new Map(), nowMs + 300_000), { reason: 'timestamp' })
})

t.test('verifyV3() refuses headers that are absent, empty, repeated or hold blanks', async (t) => {
  const { headers, body } = signedMessage('{}')
  t.equal(check({ headers, body }).status, 'verified')
  for (const name of Object.keys(headers)) {
    const value = headers[name] ?? ''
    for (const change of [
      undefined,
      '',
      [value],
      [value, value],
      `${value}, ${value}`,
      ` ${value}`,
      `${value}\n`,
      `${value}é`
    ])
      t.strictSame(
        check({ headers: { ...headers, [name]: change }, body }),
        { status: 'refused', reason: 'header' },
        name
      )
  }
  t.equal(Object.keys(headers).length, 4)
})

t.test('verifyV3() lets no text move from the nonce into the body', async (t) => {
  const { headers } = signedMessage('b\nc', 'a')
  t.equal(check({ headers, body: Buffer.from('b\nc') }).status, 'verified')
  t.match(check({ headers: { ...headers, 'wechatpay-nonce': 'a\nb' }, body: Buffer.from('c') }), { reason: 'header' })
})

t.test('verifyV3() recognises an APIv2 message at this door', async (t) => {
  for (const text of ['<xml><a>1</a></xml>', '\ufeff\r\n <xml/>']) {
    const body = Buffer.from(text)
    t.strictSame(check({ headers: {}, body }), { status: 'refused', reason: 'wrong-door' })
    t.match(check({ headers: signedMessage('{}').headers, body }), { reason: 'signature' })
  }
  t.match(check({ headers: {}, body: Buffer.from('{"a":"<xml>"}') }), { reason: 'header' })
  t.match(check({ headers: { 'wechatpay-signature': 'x' }, body: Buffer.from('<xml/>') }), { reason: 'header' })
})

t.test('verifyV3() takes only 256 bytes in canonical base64', async (t) => {
  const { headers, body } = signedMessage('{}')
  const signature = String(headers['wechatpay-signature'])
  const bytes = Buffer.from(signature, 'base64')
  const variants = [
    signature.slice(0, -2),
    `${signature}A`,
    `${signature.slice(0, 100)}!${signature.slice(100)}`,
    bytes.toString('base64url'),
    bytes.toString('hex'),
    bytes.subarray(1).toString('base64'),
    Buffer.concat([Buffer.alloc(1), bytes]).toString('base64'),
    Buffer.alloc(256).toString('base64')
  ]
  for (const variant of variants) {
    t.match(check({ headers: { ...headers, 'wechatpay-signature': variant }, body }), { reason: 'signature' }, variant)
  }
})

t.test('verifyV3() refuses keys of another size', async (t) => {
  const { headers, body } = signedMessage('{}')
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const message = joinLines([String(headers['wechatpay-timestamp']), String(headers['wechatpay-nonce']), body])
  const signature = sign('sha256', message, privateKey).toString('base64')
  const signed = { headers: { ...headers, 'wechatpay-signature': signature }, body }
  t.match(verifyV3(signed, new Map([[serial, publicKey]]), nowMs), { reason: 'signature' })
})

t.test('verifyV3() refuses a signature by another key, another hash or another padding', async (t) => {
  const { headers, body } = signedMessage('{}')
  const message = joinLines([String(headers['wechatpay-timestamp']), String(headers['wechatpay-nonce']), body])
  const forge = (bytes: Buffer) =>
    check({ headers: { ...headers, 'wechatpay-signature': bytes.toString('base64') }, body })
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  t.equal(forge(sign('sha256', message, platformKey)).status, 'verified')
  t.match(forge(sign('sha256', message, stranger)), { reason: 'signature' })
  t.match(forge(sign('sha1', message, platformKey)), { reason: 'signature' })
  t.match(
    forge(sign('sha256', message, { key: platformKey, padding: constants.RSA_PKCS1_PSS_PADDING })),
    { reason: 'signature' },
    'PSS'
  )
})

t.test('verifyV3() refuses any message with a bit changed, whatever it is in', async (t) => {
  const good = signedMessage('{"id":"EV-1","event_type":"TRANSACTION.SUCCESS","summary":"支付成功"}')
  t.equal(check(good).status, 'verified')
  fc.assert(
    fc.property(
      fc.constantFrom('body', ...Object.keys(good.headers)),
      fc.nat(),
      fc.nat({ max: 7 }),
      (part, at, bit) => {
        const isBody = part === 'body'
        const bytes = Buffer.from(isBody ? good.body : Buffer.from(String(good.headers[part]), 'latin1'))
        const place = at % bytes.length
        bytes.writeUInt8(bytes.readUInt8(place) ^ (1 << bit), place)
        const changed = isBody
          ? { ...good, body: bytes }
          : { ...good, headers: { ...good.headers, [part]: bytes.toString('latin1') } }
        return check(changed).status === 'refused'
      }
    ),
    { numRuns: 3000 }
  )
})

t.test('verifyV3() refuses any message that was cut or grew', async () => {
  const good = signedMessage('{"id":"EV-1"}\n')
  fc.assert(
    fc.property(
      fc.nat({ max: good.body.length }),
      fc.nat({ max: 3 }),
      fc.string({ unit: 'binary', maxLength: 3 }),
      (at, n, text) => {
        const body = Buffer.concat([good.body.subarray(0, at), Buffer.from(text), good.body.subarray(at + n)])
        return (check({ ...good, body }).status === 'verified') === body.equals(good.body)
      }
    )
  )
})

t.test('isCertificateSerial() knows what can be fetched', async (t) => {
  t.ok(isCertificateSerial(serial))
  t.ok(isCertificateSerial(keys.platformB.serial), 'a leading zero')
  for (const other of [
    keys.platformPublicKey.id,
    serial.toLowerCase(),
    serial.slice(1),
    `${serial}0`,
    `${serial}\n`,
    ''
  ])
    t.notOk(isCertificateSerial(other), other)
})

t.test('openResource() opens, or refuses, every vector', async (t) => {
  const { cases } = vectors('pay-v3-gcm')
  for (const { name, input, expected } of cases) {
    const { key, associatedData: associated_data, ...sealed } = input
    const opened = openResource({ ...sealed, associated_data }, createApiV3Key(key))
    t.equal(opened?.toString(), expected.plaintext, name)
  }
  t.equal(cases.filter((each: { expected: object }) => 'error' in each.expected).length, 7)
  t.equal(cases.length, 13)
})

t.test('openResource() takes absent associated data for none, and nothing but text for a field', async (t) => {
  const key = createApiV3Key(keys.apiV3Key)
  const good = seal('{"a":1}', '')
  t.equal(openResource(good, key)?.toString(), '{"a":1}')
  const { associated_data: _none, ...without } = good
  t.equal(openResource(without, key)?.toString(), '{"a":1}')
  for (const name of Object.keys(good)) {
    for (const value of [1, true, {}, [], ['x']])
      t.equal(openResource({ ...good, [name]: value }, key), undefined, name)
  }
  for (const name of ['algorithm', 'ciphertext', 'nonce'])
    for (const value of [undefined, null, '']) t.equal(openResource({ ...good, [name]: value }, key), undefined, name)
  t.equal(openResource({ ...good, algorithm: 'AEAD_SM4_128_GCM' }, key), undefined)
})

t.test('openResource() takes no part of a tag for the whole', async (t) => {
  const key = createApiV3Key(keys.apiV3Key)
  const whole = seal('x'.repeat(40), 'transaction')
  const bytes = Buffer.from(whole.ciphertext, 'base64')
  const open = (sealed: Buffer) => openResource({ ...whole, ciphertext: sealed.toString('base64') }, key)
  t.equal(open(bytes)?.toString(), 'x'.repeat(40))
  for (let cut = 1; cut <= bytes.length; cut++) t.equal(open(bytes.subarray(0, -cut)), undefined, `${cut} bytes short`)
  const short = seal('x'.repeat(40), 'transaction', 12)
  t.equal(openResource(short, key), undefined, 'a tag made with 12 bytes')
})

t.test('openResource() opens nothing that had a bit changed', async () => {
  const key = createApiV3Key(keys.apiV3Key)
  const good = seal('{"mchid":"1900000109"}', 'transaction')
  const parts = fc.constantFrom('ciphertext' as const, 'nonce' as const, 'associated_data' as const)
  fc.assert(
    fc.property(parts, fc.nat(), fc.nat({ max: 6 }), (part, at, bit) => {
      const bytes = Buffer.from(good[part], 'latin1')
      bytes.writeUInt8(bytes.readUInt8(at % bytes.length) ^ (1 << bit), at % bytes.length)
      return openResource({ ...good, [part]: bytes.toString('latin1') }, key) === undefined
    }),
    { numRuns: 2000 }
  )
})

// The files of vectors are JSON of many shapes.
function findCase(file: string, start: string) {
  return vectors(file.replace('.json', '')).cases.find(({ name }: { name: string }) => name.startsWith(start))
}

/** A vector's trust: serial → "pay-keys.json <name>", or a PEM. */
function trustOf(trust: Record<string, string>): Map<string, KeyObject> {
  return new Map(
    Object.entries(trust).map(([serial, name]) => {
      const pem = name.startsWith('pay-keys.json ') ? keys[name.slice(14)].publicPem : name
      return [serial, pem.includes('CERTIFICATE') ? new X509Certificate(pem).publicKey : createPublicKey(pem)]
    })
  )
}

function check(message: SignedV3) {
  return verifyV3(message, heldKeys, nowMs)
}

/** As the platform sends it at `nowMs`. */
function signedMessage(text: string, nonce = 'c5ac7061fccab6bf3e254dcf98995b8c') {
  const timestamp = String(nowMs / 1000)
  const body = Buffer.from(text)
  const message = Buffer.from(`${timestamp}\n${nonce}\n${text}\n`)
  const headers: Record<string, string> = {
    'wechatpay-timestamp': timestamp,
    'wechatpay-nonce': nonce,
    'wechatpay-serial': serial,
    'wechatpay-signature': sign('sha256', message, platformKey).toString('base64')
  }
  return { headers, body }
}

function seal(text: string, data: string, authTagLength = 16) {
  const nonce = 'fdasflkja484'
  const cipher = createCipheriv('aes-256-gcm', keys.apiV3Key, nonce, { authTagLength }).setAAD(Buffer.from(data))
  const bytes = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])
  return { algorithm: 'AEAD_AES_256_GCM', ciphertext: bytes.toString('base64'), nonce, associated_data: data }
}
