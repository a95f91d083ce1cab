/** The settings: each rule, all issues reported at once, and no value in any message. */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect, parseEnv } from 'node:util'
import fastify from 'fastify'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { SettingsError } from '../../lib/settings/issues.ts'
import type { Settings } from '../../lib/settings/model.ts'
import { settingsExample, settingsTable } from '../../lib/settings/pages.ts'
import { Environment } from '../../lib/settings/schema.ts'
import { readSettings } from '../../lib/settings.ts'

type Env = Record<string, string | undefined>

const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const spki = (key: KeyObject) => createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
const p256 = pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
const ed25519 = pem(generateKeyPairSync('ed25519').privateKey)
const p384 = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const otherRsa = pem(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
const serial = '0A5B00000000000000000000000000000000C0DE'
const certificate = selfSigned(rsa, serial)

const k32 = Buffer.alloc(32, 7).toString('base64')
const appid = 'wxd678efh567hg6787'
const base: Env = {
  PUBLIC_URL: 'https://pay.example.com',
  REDIS_URL: 'redis://127.0.0.1:6379',
  ENCRYPTION_KEYS: `k1:${k32}`,
  JWT_SECRET: 'a'.repeat(32),
  WECHAT_APPID: appid,
  WECHAT_SECRET: 'app-secret'
}
const v3 = {
  WECHAT_PAY_MCHID: '1900000001',
  WECHAT_PAY_API_V3_KEY: '3'.repeat(32),
  WECHAT_PAY_CERT_SERIAL: serial,
  WECHAT_PAY_PRIVATE_KEY: pem(rsa)
}

/** The smallest self-signed certificate, as openssl cannot be counted on and Node makes none. */
function selfSigned(key: KeyObject, serialHex: string): string {
  const der = (tag: number, ...parts: Buffer[]) => {
    const body = Buffer.concat(parts)
    const size = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 255]
    return Buffer.concat([Buffer.from([tag, ...size]), body])
  }
  const algorithm = der(0x30, Buffer.from('06092a864886f70d01010b0500', 'hex'))
  const name = der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from('wxgate test')))))
  const validity = der(0x30, der(0x17, Buffer.from('250101000000Z')), der(0x17, Buffer.from('450101000000Z')))
  const number = der(0x02, Buffer.from(serialHex.replace(/^(00)+/, ''), 'hex'))
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const content = der(0x30, number, algorithm, name, validity, name, publicKey)
  const signature = der(0x03, Buffer.from([0]), sign('sha256', content, key))
  const text = der(0x30, content, algorithm, signature).toString('base64').replace(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`
}

function read(changes: Env = {}, files: Record<string, string> = {}): Settings {
  return readSettings({ ...base, ...changes }, { readFile: reader(files) })
}

function reader(files: Record<string, string>): (path: string) => string {
  return (path) => {
    const content = files[path]
    if (content === undefined) throw Object.assign(new Error(`ENOENT: no such file '${path}'`), { code: 'ENOENT' })
    return content
  }
}

function failure(run: () => unknown): SettingsError {
  try {
    run()
  } catch (error) {
    if (error instanceof SettingsError) return error
    throw error
  }
  throw new Error('the settings were taken')
}

/** The faults, one line each. */
function faults(changes: Env, files: Record<string, string> = {}): string[] {
  return failure(() => read(changes, files)).message.split('\n')
}

/** The names of the faulty settings alone. */
function faulty(changes: Env, files: Record<string, string> = {}): string[] {
  return failure(() => read(changes, files)).issues.map(({ name }) => name)
}

/** The configuration file's form of the one app, with whatever else it shall hold. */
function config(document: unknown, changes: Env = {}): [Env, Record<string, string>] {
  const env = { WECHAT_APPID: undefined, WECHAT_SECRET: undefined, WECHAT_CONFIG_FILE: '/config.json', ...changes }
  return [env, { '/config.json': typeof document === 'string' ? document : JSON.stringify(document) }]
}

t.test('readSettings() fills in the defaults of the contract', async (t) => {
  const { tokens, ...settings } = read()
  const { jwtKeys, ...times } = tokens
  const publicUrl = 'https://pay.example.com'
  const proxy = { noProxy: [] }
  t.strictSame(settings, {
    server: { host: '127.0.0.1', port: 3000, logLevel: 'info', trustProxy: ['loopback'] },
    roles: { api: true, worker: true },
    meters: { appids: [appid] },
    redis: { url: 'redis://127.0.0.1:6379', prefix: 'wxgate' },
    sessions: {
      encryptionKeys: [{ id: 'k1', key: Buffer.alloc(32, 7) }],
      refreshTtlSeconds: 2592000,
      sessionKeyTtlSeconds: 7200,
      sessionMaxAgeSeconds: 15552000
    },
    rateLimit: { perMinute: 600 },
    auth: { internalApiKeys: [] },
    docs: { enabled: false, publicUrl },
    wechat: {
      apps: [{ appid, secret: 'app-secret' }],
      origins: ['https://api.weixin.qq.com'],
      timeoutMs: 5000,
      proxy,
      watermarkMaxAgeSeconds: 0
    },
    events: { webhook: undefined, proxy, concurrency: 50, worker: true, durability: 'redis' },
    pay: {
      merchants: [],
      origins: ['https://api.mch.weixin.qq.com', 'https://api2.mch.weixin.qq.com'],
      timeoutMs: 5000,
      proxy,
      publicUrl,
      reconcile: { enabled: true, firstMs: 30000 },
      worker: true
    }
  })
  t.strictSame(times, { issuer: publicUrl, tokenTtlSeconds: 900, sessionMaxAgeSeconds: 15552000 })
  t.equal(jwtKeys.length, 1)
})

t.test('readSettings() takes env alone, empty counting as unset and strangers as none of its business', async (t) => {
  process.env.LOG_LEVEL = 'trace'
  t.teardown(() => delete process.env.LOG_LEVEL)
  const env = { ...base, PORT: '', WXGATE_SOMETHING: 'x', PORT_FILE: '/nowhere', TRUST_PROXY: '' }
  t.match(readSettings(env), {
    server: { port: 3000, logLevel: 'info', trustProxy: ['loopback'] }
  })
  t.same(faulty({ REDIS_URL: '' }), ['REDIS_URL'])
})

t.test('readSettings() names everything that is missing at once', async (t) => {
  const error = failure(() => readSettings({}))
  t.equal(error.name, 'SettingsError')
  t.equal(
    error.message,
    [
      'PUBLIC_URL is required',
      'REDIS_URL is required',
      'ENCRYPTION_KEYS is required',
      'JWT_KEYS is required, or JWT_SECRET in its place',
      'WECHAT_APPID is required, or WECHAT_CONFIG_FILE in its place',
      'WECHAT_SECRET is required, or WECHAT_CONFIG_FILE in its place'
    ].join('\n')
  )
  t.same(error.issues[0], { name: 'PUBLIC_URL', problem: 'is required' })
})

t.test('readSettings() names faults of every kind at once', async (t) => {
  t.same(faulty({ PORT: '99999', DOCS: 'yes', PUBLIC_URL: 'x', JWT_SECRET: 'y', WECHAT_APPID: 'z', ROLES: 'boss' }), [
    'PORT',
    'DOCS',
    'PUBLIC_URL',
    'JWT_SECRET',
    'WECHAT_APPID',
    'ROLES'
  ])
})

t.test('readSettings() checks numbers and choices', async (t) => {
  const times = ['TOKEN_TTL', 'REFRESH_TTL', 'SESSION_KEY_TTL', 'WECHAT_TIMEOUT_MS', 'RECONCILE_FIRST_MS']
  for (const name of times) {
    t.same(faults({ [name]: '0' }), [`${name} must be a whole number from 1 to 2147483647`], `${name} 0`)
    t.ok(read({ [name]: '1' }), `${name} 1`)
  }
  for (const name of ['PORT', 'WATERMARK_MAX_AGE', 'RATE_LIMIT']) {
    t.ok(read({ [name]: '0' }), `${name} 0`)
    for (const text of ['-1', '1.5', '1e3', '0x10', ' ', 'ten', '2147483648']) {
      t.same(faulty({ [name]: text }), [name], `${name} '${text}'`)
    }
  }
  t.equal(read({ PORT: '65535' }).server.port, 65535)
  t.same(faults({ PORT: '65536' }), ['PORT must be a whole number from 0 to 65535'])
  t.equal(read({}).events.concurrency, 50)
  for (const text of ['1', '1000']) t.equal(read({ DELIVERY_CONCURRENCY: text }).events.concurrency, Number(text))
  for (const text of ['0', '1001', '1.5'])
    t.same(faults({ DELIVERY_CONCURRENCY: text }), ['DELIVERY_CONCURRENCY must be a whole number from 1 to 1000'], text)
  for (const level of ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']) {
    t.equal(read({ LOG_LEVEL: level }).server.logLevel, level)
  }
  t.same(faults({ LOG_LEVEL: 'loud' }), ['LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent'])
  t.match(read({ RECONCILE: 'off', DOCS: 'on', EVENT_DURABILITY: 'fsync' }), {
    pay: { reconcile: { enabled: false } },
    docs: { enabled: true },
    events: { durability: 'fsync' }
  })
  t.same(faulty({ RECONCILE: 'true', DOCS: '1', EVENT_DURABILITY: 'disk' }), ['DOCS', 'RECONCILE', 'EVENT_DURABILITY'])
  t.same(faulty({ HOST: 'not a host', REDIS_PREFIX: 'wx{gate}' }), ['HOST', 'REDIS_PREFIX'])
  t.match(read({ HOST: '::', REDIS_PREFIX: 'shop:wx' }), { server: { host: '::' }, redis: { prefix: 'shop:wx' } })
})

t.test('readSettings() takes an https origin, plain http only for the machine itself', async (t) => {
  t.equal(read({ PUBLIC_URL: 'https://Pay.Example.com:8443/' }).pay.publicUrl, 'https://pay.example.com:8443')
  const loopback = ['http://localhost:3000', 'http://127.0.0.1', 'http://127.8.9.10:1', 'http://[::1]:3000']
  for (const url of loopback) t.equal(read({ PUBLIC_URL: url }).pay.publicUrl, url)
  const wrong = [
    'http://pay.example.com',
    'http://127.0.0.1.example.com',
    'http://10.0.0.1',
    'ftp://a.example',
    'a.example'
  ]
  wrong.push('https://a.example/shop', 'https://a.example?', 'https://a.example#', 'https://u:p@a.example', 'https://')
  wrong.push(
    'https://@a.example',
    'https://a.example\\b',
    'https://a.example//',
    ' https://a.example',
    'https://a:99999'
  )
  for (const url of wrong) {
    t.same(faulty({ PUBLIC_URL: url }), ['PUBLIC_URL'], url)
    t.same(faulty({ WECHAT_API_ORIGIN: `https://b.example,${url.trim()}x y` }), ['WECHAT_API_ORIGIN'], url)
  }
  t.same(read({ WECHAT_PAY_ORIGIN: 'http://127.0.0.1:4000 , https://b.example/' }).pay.origins, [
    'http://127.0.0.1:4000',
    'https://b.example'
  ])
  t.match(faults({ WECHAT_PAY_ORIGIN: 'https://b.example,' })[0], /^WECHAT_PAY_ORIGIN entry 2 must be https/)
})

t.test('readSettings() takes the five forms of REDIS_URL', async (t) => {
  const right = [
    'redis://localhost',
    'redis://u:p%40ss@10.0.0.1:6380/2',
    'redis://:pw@[::1]:6379/',
    'rediss://r.example'
  ]
  right.push('unix:/run/redis.sock', 'redis+sentinel://s1:26379,[::1]:26379/main', 'redis+cluster://c1:7000')
  right.push('redis+sentinel://:pw@s1:26379/main', 'redis+cluster://u:pw@c1:7000,c2:7001')
  for (const url of right) t.equal(read({ REDIS_URL: url }).redis.url, url)
  const wrong = [
    'localhost:6379',
    'http://r.example',
    'redis://',
    'redis://h:99999',
    'redis://h/main',
    'redis://h?db=1'
  ]
  wrong.push(
    'redis://a:1,b:2',
    'redis://a,b',
    'redis://u:p@ss@h',
    'redis://u:%zz@h',
    'unix:run.sock',
    'unix:/run/a b',
    'unix:/r?db=1'
  )
  wrong.push(
    'redis+sentinel://s1:26379',
    'redis+sentinel://s1/main',
    'redis+sentinel://s1:0/main',
    'redis+cluster://c1'
  )
  wrong.push(
    'redis+cluster://c1:7000,',
    'redis+cluster://c1:7000/0',
    'rediss+cluster://c1:7000',
    'redis+sentinel://s:1/m n'
  )
  for (const url of wrong) t.same(faulty({ REDIS_URL: url }), ['REDIS_URL'], url)
})

t.test('readSettings() takes proxies that Fastify takes too', async (t) => {
  const proxies = 'loopback, linklocal,uniquelocal,10.0.0.1,10.0.0.0/8,fd00::1,fd00::/128'
  const { trustProxy } = read({ TRUST_PROXY: proxies }).server
  t.equal(trustProxy.length, 7)
  t.doesNotThrow(() => fastify({ trustProxy: [...trustProxy] }).initialConfig)
  for (const text of [
    'true',
    '1',
    '10.0.0.0/0',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/8/8',
    '10.0.0.256',
    'fe80::1%eth0',
    'a,'
  ]) {
    t.ok(faulty({ TRUST_PROXY: text }).includes('TRUST_PROXY'), text)
  }
})

t.test('readSettings() reads ENCRYPTION_KEYS', async (t) => {
  const two = read({
    ENCRYPTION_KEYS: `new_key-01:${k32}, old:${Buffer.alloc(32, 1).toString('base64')}`
  }).sessions.encryptionKeys
  t.strictSame(two, [
    { id: 'new_key-01', key: Buffer.alloc(32, 7) },
    { id: 'old', key: Buffer.alloc(32, 1) }
  ])
  const wrong = [
    k32,
    `:${k32}`,
    `${'i'.repeat(17)}:${k32}`,
    `a.b:${k32}`,
    `a:${k32.slice(0, -1)}`,
    `a:${k32}=`,
    `a:${k32},`
  ]
  wrong.push(`a:${Buffer.alloc(31).toString('base64')}`, `a:${Buffer.alloc(33).toString('base64')}`)
  wrong.push(`a:${Buffer.alloc(32, 255).toString('base64url')}=`, `a:${k32.replace(/.=$/, 'd=')}`)
  for (const text of wrong) t.same(faulty({ ENCRYPTION_KEYS: text }), ['ENCRYPTION_KEYS'], text)
  t.same(faults({ ENCRYPTION_KEYS: `a:${k32},a:${k32}` }), ['ENCRYPTION_KEYS has the same id twice'])
})

t.test('readSettings() reads JWT_KEYS, the kid as jose computes it', async (t) => {
  const keys = read({ JWT_SECRET: undefined, JWT_KEYS: `${p256}\n${ed25519}` }).tokens.jwtKeys
  t.same(
    keys.map(({ alg }) => alg),
    ['ES256', 'EdDSA']
  )
  for (const { kid, signingKey, verifyingKey } of keys) {
    t.equal(kid, await calculateJwkThumbprint(createPublicKey(verifyingKey).export({ format: 'jwk' })))
    t.equal(verifyingKey, spki(createPrivateKey(signingKey)))
  }
  const sec1 = createPrivateKey(p256).export({ type: 'sec1', format: 'pem' }).toString()
  for (const text of [
    p256.replaceAll('\n', '\\n'),
    p256.replaceAll('\n', '\\r\\n'),
    p256.replaceAll('\n', '\r\n'),
    sec1
  ]) {
    t.strictSame(read({ JWT_SECRET: undefined, JWT_KEYS: text }).tokens.jwtKeys, keys.slice(0, 1))
  }
  const encrypted = createPrivateKey(p256).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x'
  })
  for (const other of [p384, pem(rsa), spki(createPrivateKey(p256)), encrypted.toString(), certificate]) {
    const problem = 'JWT_KEYS key 2 must be an unencrypted private key, P-256 or Ed25519'
    const told = faults({ JWT_SECRET: undefined, JWT_KEYS: p256 + other })
    t.same([told[0]?.slice(0, problem.length), told.length], [problem, 1])
  }
  const wrong = [' ', 'no key', `${p256}and more`, p256.replace('-----END', 'END'), p256 + ed25519.slice(0, 40)]
  for (const text of wrong) {
    t.match(faults({ JWT_SECRET: undefined, JWT_KEYS: text }), [
      /^JWT_KEYS must be one or more unencrypted PEM private keys/
    ])
  }
  t.same(faults({ JWT_SECRET: undefined, JWT_KEYS: p256 + ed25519 + p256 }), ['JWT_KEYS has the same key twice'])
})

t.test('readSettings() reads JWT_SECRET, its kid telling nothing of it', async (t) => {
  const secret = 'é'.repeat(16)
  const [key, ...rest] = read({ JWT_SECRET: secret }).tokens.jwtKeys
  t.match(key, { alg: 'HS256', signingKey: secret, verifyingKey: secret, kid: /^[A-Za-z0-9_-]{16}$/ })
  t.same(rest, [])
  t.equal(read({ JWT_SECRET: 'a'.repeat(32) }).tokens.jwtKeys[0]?.kid, '2IQtZVQS7fbDjQQG', 'as openssl computes it')
  for (const text of ['a'.repeat(31), p256]) t.same(faulty({ JWT_SECRET: text }), ['JWT_SECRET'])
  t.same(faults({ JWT_KEYS: p256 }), ['JWT_KEYS and JWT_SECRET are both given; keep one'])
})

t.test('readSettings() reads what the backend uses', async (t) => {
  const [key, secret] = ['k'.repeat(32), `whsec_${Buffer.alloc(24).toString('base64')}`]
  const longest = `whsec_${Buffer.alloc(64).toString('base64')}`
  const env = { INTERNAL_API_KEYS: `${key}, ${key}2`, WEBHOOK_URL: 'http://backend:8080/events?x=1' }
  t.match(read({ ...env, WEBHOOK_SECRET: `${secret},${longest}` }), {
    auth: { internalApiKeys: [{ key }, { key: `${key}2` }] },
    events: { webhook: { url: 'http://backend:8080/events?x=1', secrets: [secret, longest] } }
  })
  t.same(faulty({ INTERNAL_API_KEYS: `${key},${'k'.repeat(31)}` }), ['INTERNAL_API_KEYS'])
  t.same(faulty({ INTERNAL_API_KEYS: `${key} ${key}` }), ['INTERNAL_API_KEYS'])
  t.same(faults(env), ['WEBHOOK_SECRET is required with WEBHOOK_URL'])
  t.equal(read({ WEBHOOK_SECRET: secret }).events.webhook, undefined, 'a secret alone switches nothing on')
  for (const url of [
    'ftp://b.example',
    'b.example',
    'https://u:p@b.example',
    'https://u@b.example',
    'https://:p@b.example',
    'http://'
  ]) {
    t.same(faulty({ WEBHOOK_URL: url, WEBHOOK_SECRET: secret }), ['WEBHOOK_URL'], url)
  }
  for (const bytes of [23, 65]) {
    t.same(faulty({ WEBHOOK_SECRET: `whsec_${Buffer.alloc(bytes).toString('base64')}` }), ['WEBHOOK_SECRET'])
  }
  for (const text of [secret.slice(6), `${secret}=`, `${secret},`, 'whsec_'])
    t.same(faulty({ WEBHOOK_SECRET: text }), ['WEBHOOK_SECRET'])
})

t.test('readSettings() reads ROLES', async (t) => {
  t.same(read({ ROLES: 'worker' }).roles, { api: false, worker: true })
  t.same(read({ ROLES: 'worker , api' }).roles, { api: true, worker: true })
  t.same(faults({ ROLES: 'api,boss' }), ['ROLES entry 2 must be api or worker'])
  t.same(faults({ ROLES: ',' }).length, 2)
  t.same(faults({ ROLES: 'api,api' }), ['ROLES has the same role twice'])
})

t.test('readSettings() reads one app', async (t) => {
  const push = { WECHAT_PUSH_TOKEN: 'AAAAA', WECHAT_PUSH_AES_KEY: 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG' }
  t.strictSame(read(push).wechat.apps, [
    { appid, secret: 'app-secret', pushToken: 'AAAAA', pushAesKey: push.WECHAT_PUSH_AES_KEY }
  ])
  for (const text of ['wx123', `xx${appid.slice(2)}`, `${appid}0`, appid.replace('h', '-')]) {
    t.same(faulty({ WECHAT_APPID: text }), ['WECHAT_APPID'], text)
  }
  t.same(faults({ WECHAT_SECRET: 'a b' }), [
    'WECHAT_SECRET must be visible ASCII characters without quotes and backslashes'
  ])
  for (const text of ['ab', 'a'.repeat(33), 'a-b'])
    t.same(faulty({ WECHAT_PUSH_TOKEN: text }), ['WECHAT_PUSH_TOKEN'], text)
  for (const text of ['a'.repeat(42), 'a'.repeat(44), `${'a'.repeat(42)}=`]) {
    t.same(faulty({ ...push, WECHAT_PUSH_AES_KEY: text }), ['WECHAT_PUSH_AES_KEY'], text)
  }
  t.same(faults({ ...push, WECHAT_PUSH_TOKEN: '' }), ['WECHAT_PUSH_TOKEN is required beside the AES key'])
  for (const pushReply of ['success', 'transfer_customer_service'])
    t.match(read({ ...push, WECHAT_PUSH_REPLY: pushReply }).wechat.apps, [{ pushReply }])
  t.same(faults({ ...push, WECHAT_PUSH_REPLY: 'nothing' }), [
    'WECHAT_PUSH_REPLY must be success or transfer_customer_service'
  ])
})

t.test('readSettings() reads one merchant', async (t) => {
  const v2 = { WECHAT_PAY_MCHID: '1900000001', WECHAT_PAY_API_V2_KEY: '2'.repeat(32) }
  t.strictSame(read(v2).pay.merchants, [{ mchid: '1900000001', apiV2Key: '2'.repeat(32), appids: [appid] }])
  const withCert = { ...v3, WECHAT_PAY_CERT_SERIAL: '', WECHAT_PAY_CERT: certificate.replaceAll('\n', '\\n') }
  const whole = {
    mchid: '1900000001',
    apiV3Key: '3'.repeat(32),
    certSerial: serial,
    privateKey: pem(rsa),
    appids: [appid]
  }
  t.strictSame(read({ ...v3, WECHAT_PAY_CERT_SERIAL: serial.toLowerCase() }).pay.merchants, [whole])
  t.strictSame(
    read(withCert).pay.merchants,
    [{ ...whole, cert: certificate }],
    'the serial is read from the certificate'
  )
  const short = selfSigned(rsa, `00${serial.slice(2)}`)
  t.equal(
    read({ ...withCert, WECHAT_PAY_CERT: short }).pay.merchants[0]?.certSerial,
    `00${serial.slice(2)}`,
    'zeros are kept'
  )
  const publicKey = { WECHAT_PAY_PUBLIC_KEY_ID: 'PUB_KEY_ID_01', WECHAT_PAY_PUBLIC_KEY: spki(rsa) }
  t.match(read({ ...v3, ...publicKey }).pay.merchants, [{ publicKeyId: 'PUB_KEY_ID_01', publicKey: spki(rsa) }])
  const pkcs1 = createPublicKey(rsa).export({ type: 'pkcs1', format: 'pem' }).toString()
  t.match(read({ ...v3, ...publicKey, WECHAT_PAY_PUBLIC_KEY: pkcs1 }).pay.merchants, [{ publicKey: pkcs1 }])
  t.match(
    read({ ...v2, WECHAT_PAY_CERT: certificate, WECHAT_PAY_PRIVATE_KEY: pem(rsa) }).pay.merchants,
    [{ apiV2Key: '2'.repeat(32), cert: certificate }],
    'refunds by v2 need no API v3'
  )
  const wrong: Record<string, string[]> = {
    WECHAT_PAY_MCHID: ['1234567', '12345678901', '19000000a1'],
    WECHAT_PAY_API_V2_KEY: ['2'.repeat(31), '2'.repeat(33), 'é'.repeat(32)],
    WECHAT_PAY_API_V3_KEY: ['3'.repeat(31), '3'.repeat(33)],
    WECHAT_PAY_CERT_SERIAL: [serial.slice(1), `${serial}0`, serial.replace('A', 'G')],
    WECHAT_PAY_PRIVATE_KEY: ['no key', p256, spki(rsa)],
    WECHAT_PAY_CERT: ['no certificate', pem(rsa), selfSigned(createPrivateKey(p256), serial)],
    WECHAT_PAY_PUBLIC_KEY_ID: ['PUB_KEY_ID_', 'PUB_KEY_ID_1-2', '1'],
    WECHAT_PAY_PUBLIC_KEY: ['no key', pem(rsa), certificate, spki(createPrivateKey(p256)), '-----BEGIN PUBLIC KEY-----']
  }
  for (const [name, texts] of Object.entries(wrong)) {
    for (const text of texts)
      t.same(faulty({ ...v3, ...publicKey, [name]: text }), [name], `${name} ${text.slice(0, 40)}`)
  }
})

t.test('readSettings() says which parts of a merchant are missing', async (t) => {
  const needed = 'is required: API v3 needs its key, the certificate serial (or the certificate) and the private key'
  const names = ['WECHAT_PAY_API_V3_KEY', 'WECHAT_PAY_PRIVATE_KEY', 'WECHAT_PAY_CERT_SERIAL']
  for (const name of names) t.same(faults({ ...v3, [name]: undefined }), [`${name} ${needed}`])
  const { WECHAT_PAY_MCHID } = v3
  const v2 = { WECHAT_PAY_MCHID, WECHAT_PAY_API_V2_KEY: '2'.repeat(32) }
  t.same(faulty({ ...v2, WECHAT_PAY_API_V3_KEY: '3'.repeat(32) }), names.slice(1))
  t.same(faulty({ ...v2, WECHAT_PAY_PRIVATE_KEY: pem(rsa) }), ['WECHAT_PAY_API_V3_KEY', 'WECHAT_PAY_CERT_SERIAL'])
  const publicKey = { WECHAT_PAY_PUBLIC_KEY_ID: 'PUB_KEY_ID_1', WECHAT_PAY_PUBLIC_KEY: spki(rsa) }
  t.same(faulty({ ...v2, ...publicKey }), names)
  const lower = { ...v3, WECHAT_PAY_CERT: certificate, WECHAT_PAY_CERT_SERIAL: serial.toLowerCase() }
  t.equal(read(lower).pay.merchants[0]?.certSerial, serial)
  t.same(faults({ ...lower, WECHAT_PAY_CERT_SERIAL: 'x' }), ['WECHAT_PAY_CERT_SERIAL must be 40 hex digits'])
  t.same(faults({ ...v2, WECHAT_PAY_CERT: certificate }), ['WECHAT_PAY_PRIVATE_KEY is required beside the certificate'])
  t.same(faults({ WECHAT_PAY_MCHID }), ['WECHAT_PAY_API_V2_KEY is required, unless the keys of API v3 are given'])
  t.same(faults({ WECHAT_PAY_API_V2_KEY: '2'.repeat(32) }), ['WECHAT_PAY_MCHID is required'])
  t.same(faults({ ...v3, WECHAT_PAY_PUBLIC_KEY_ID: 'PUB_KEY_ID_1' }), [
    'WECHAT_PAY_PUBLIC_KEY is required beside its id'
  ])
  t.same(faults({ ...v3, WECHAT_PAY_PUBLIC_KEY: spki(rsa) }), [
    'WECHAT_PAY_PUBLIC_KEY_ID is required beside the public key'
  ])
  t.same(faults({ ...v3, WECHAT_PAY_CERT: selfSigned(rsa, serial.replace('A', 'B')) }), [
    'WECHAT_PAY_CERT_SERIAL must be the serial number of the certificate given'
  ])
  t.same(faults({ ...v3, WECHAT_PAY_CERT: certificate, WECHAT_PAY_PRIVATE_KEY: otherRsa }), [
    'WECHAT_PAY_PRIVATE_KEY must belong to the certificate given'
  ])
})

const apiSecurity = {
  symKey: k32,
  symSerial: 'sym1',
  privateKey: pem(rsa),
  publicSerial: 'pub1',
  wechatCert: certificate,
  wechatSerial: 'cert1'
}
const apps = [
  { appid, secret: 's1', pushToken: 'AAAAA', pushReply: 'transfer_customer_service', apiSecurity },
  { appid: 'wx0000000000000002', secret: 's2' }
]

t.test('readSettings() reads several apps and merchants from WECHAT_CONFIG_FILE', async (t) => {
  const merchants = [
    { mchid: '1900000001', apiV2Key: '2'.repeat(32) },
    { mchid: '1900000002', apiV2Key: '2'.repeat(32), appids: ['wx0000000000000002'] }
  ]
  const settings = read(...config({ apps, merchants }))
  t.strictSame(settings.wechat.apps, apps)
  t.strictSame(settings.pay.merchants, [{ ...merchants[0], appids: [appid, 'wx0000000000000002'] }, merchants[1]])
  t.same(read(...config({ apps })).pay.merchants, [])
  t.same(read(...config(JSON.stringify({ apps }).replaceAll('\\n', '\\\\n'))).wechat.apps, apps)
  const path = join(t.testdir({ 'config.json': JSON.stringify({ apps }) }), 'config.json')
  t.same(
    readSettings({ ...base, ...config({})[0], WECHAT_CONFIG_FILE: path }).wechat.apps,
    apps,
    'without readFile, from the disk'
  )
})

t.test('readSettings() names the place of each fault in WECHAT_CONFIG_FILE', async (t) => {
  const lines = faults(
    ...config({
      apps: [
        { appid, secret: 5, pushAesKey: 'x', pushReply: 'x', extra: 1, more: 2 },
        {
          appid,
          apiSecurity: { ...apiSecurity, symKey: 'c2hvcnQ=', privateKey: 'no', wechatCert: '', symSerial: ' ' }
        },
        'app'
      ],
      merchants: [
        { mchid: 1900000001, apiV3Key: 'x', appids: [appid, 'wx0000000000000009', 5] },
        { mchid: '1900000002', apiV2Key: '2'.repeat(32), appids: [] },
        { mchid: '1900000002', apiV2Key: '2'.repeat(32), appids: [appid, appid] },
        null,
        []
      ],
      settings: {}
    })
  )
  const place = /^WECHAT_CONFIG_FILE(?: (?:apps|merchants)\S+)?/
  t.same(
    lines.map((line) => place.exec(line)?.[0].replace('WECHAT_CONFIG_FILE', '').trim()),
    [
      '',
      'apps[0]',
      'apps[0].secret',
      'apps[0].pushAesKey',
      'apps[0].pushReply',
      'apps[1].secret',
      'apps[1].apiSecurity.symKey',
      'apps[1].apiSecurity.symSerial',
      'apps[1].apiSecurity.privateKey',
      'apps[1].apiSecurity.wechatCert',
      'apps[2]',
      'merchants[0].mchid',
      'merchants[0].apiV3Key',
      'merchants[0].appids[2]',
      'merchants[1].appids',
      'merchants[2].appids',
      'merchants[3]',
      'merchants[4]',
      'apps[1].appid',
      'merchants[2].mchid',
      'apps[0].pushToken',
      'merchants[0].privateKey',
      'merchants[0].certSerial',
      'merchants[0].appids[1]'
    ]
  )
  t.equal(lines[0], 'WECHAT_CONFIG_FILE has an unknown field; the known ones are apps, merchants')
  t.match(lines[1], /^WECHAT_CONFIG_FILE apps\[0\] has an unknown field; the known ones are appid, secret, /)
  t.equal(lines[5], 'WECHAT_CONFIG_FILE apps[1].secret is required')
})

t.test('readSettings() refuses a configuration file that it cannot use', async (t) => {
  t.same(faults(...config('{"apps": [')), ['WECHAT_CONFIG_FILE names a file that is not valid JSON'])
  t.same(faults(...config('')), ['WECHAT_CONFIG_FILE names a file that is empty'])
  t.same(faults(...config('null')), ['WECHAT_CONFIG_FILE must be a JSON object'])
  t.same(faults(...config({ apps: [] })), ['WECHAT_CONFIG_FILE apps must be a list of at least one app'])
  t.same(faults(...config({ apps, merchants: {} })), ['WECHAT_CONFIG_FILE merchants must be a list of merchants'])
  t.same(faults(...config({ merchants: [] })), ['WECHAT_CONFIG_FILE apps is required'])
  t.same(faults(config({})[0]), ['WECHAT_CONFIG_FILE names a file that cannot be read (ENOENT)'])
  t.same(faults(...config({ apps }, { WECHAT_APPID: appid, WECHAT_PAY_MCHID: '1' })), [
    'WECHAT_CONFIG_FILE and WECHAT_APPID, WECHAT_PAY_MCHID are both given; keep one form'
  ])
})

t.test('readSettings() takes every secret and every PEM as NAME_FILE', async (t) => {
  const { JWT_SECRET, ...others } = base
  const values: Record<string, string | undefined> = {
    ...others,
    ...v3,
    JWT_KEYS: p256,
    WECHAT_PUSH_TOKEN: 'AAAAA',
    WECHAT_PUSH_AES_KEY: 'a'.repeat(43),
    WECHAT_PAY_API_V2_KEY: '2'.repeat(32),
    WECHAT_PAY_PRIVATE_KEY: pem(rsa).trim(),
    WECHAT_PAY_CERT: certificate.trim(),
    WECHAT_PAY_PUBLIC_KEY: spki(rsa).trim(),
    WECHAT_PAY_PUBLIC_KEY_ID: 'PUB_KEY_ID_1',
    INTERNAL_API_KEYS: 'k'.repeat(32),
    HTTPS_PROXY: 'http://user:password@proxy.example:3128',
    HTTP_PROXY: 'proxy.example:3128',
    WEBHOOK_URL: 'http://backend/',
    WEBHOOK_SECRET: `whsec_${k32}`
  }
  const direct = readSettings(values)
  const names = Object.entries(Environment.properties).filter(([, { secret, file }]) => secret || file)
  t.equal(names.length, 16)
  for (const [name] of names.filter(([name]) => name !== 'JWT_SECRET')) {
    for (const end of ['', '\n', '\r\n']) {
      const files = { '/secret': `${values[name]}${end}` }
      const env = { ...values, [name]: '', [`${name}_FILE`]: '/secret' }
      t.strictSame(readSettings(env, { readFile: reader(files) }), direct, `${name} ending with ${JSON.stringify(end)}`)
    }
  }
  const secret = `${JWT_SECRET}\n`
  t.equal(
    read({ JWT_SECRET: '', JWT_SECRET_FILE: '/s' }, { '/s': `${secret}\n` }).tokens.jwtKeys[0]?.signingKey,
    secret,
    'only one'
  )
})

t.test('readSettings() says of a file once that it cannot be used', async (t) => {
  const file = (name: string) => ({ [name]: undefined, [`${name}_FILE`]: '/secret' })
  const noFile = 'names a file that cannot be read (ENOENT)'
  for (const name of ['REDIS_URL', 'ENCRYPTION_KEYS', 'JWT_SECRET', 'WECHAT_SECRET', 'INTERNAL_API_KEYS']) {
    t.same(faults(file(name)), [`${name}_FILE ${noFile}`])
    t.same(faults(file(name), { '/secret': '\n' }), [`${name}_FILE names an empty file`])
  }
  t.same(faults({ ...v3, ...file('WECHAT_PAY_PRIVATE_KEY') }), [`WECHAT_PAY_PRIVATE_KEY_FILE ${noFile}`])
  t.same(faults({ JWT_SECRET_FILE: '/secret' }, { '/secret': 'a'.repeat(32) }), [
    'JWT_SECRET and JWT_SECRET_FILE are both given; keep one'
  ])
  const odd = [new Error('le4k'), Object.assign(new Error('le4k'), { code: 'le4k' }), 'le4k']
  for (const thrown of odd) {
    const readFile = () => {
      throw thrown
    }
    const error = failure(() => readSettings({ ...base, ...file('REDIS_URL') }, { readFile }))
    t.equal(error.message, 'REDIS_URL_FILE names a file that cannot be read')
  }
})

t.test('SettingsError shows no value of any setting', async (t) => {
  const shown = (error: SettingsError) => inspect(error, { depth: 9, showHidden: true })
  const names = Object.keys(Environment.properties).filter((name) => name !== 'WECHAT_CONFIG_FILE')
  const plain = 'le4k in here,le4k'
  const broken = '-----BEGIN PRIVATE KEY-----\nle4k\n-----END PRIVATE KEY-----'
  for (const text of [
    plain,
    broken,
    'http://le4k:le4k@le4k.example:le4k/le4k?le4k#le4k',
    'whsec_le4k:le4k',
    '{"le4k": le4k}'
  ]) {
    const error = failure(() => readSettings(Object.fromEntries(names.map((name) => [name, text]))))
    t.notMatch(shown(error), /le4k/i, text)
  }
  const all = failure(() => readSettings(Object.fromEntries(names.map((name) => [name, plain]))))
  t.same(new Set(all.issues.map(({ name }) => name)), new Set(names), 'and every one of them was faulty')
  const fields = Object.fromEntries(
    ['appid', 'mchid', 'secret', 'le4k', 'cert', 'privateKey'].map((name) => [name, plain])
  )
  const broken2 = {
    apps: [{ ...fields, apiSecurity: fields }, 'le4k'],
    merchants: [{ ...fields, appids: ['le4k'] }],
    le4k: 1
  }
  for (const document of [broken2, '{"apps": le4k}', '["le4k"', '"le4k"', ['le4k']]) {
    const [env, files] = config(document)
    t.notMatch(shown(failure(() => read(env, files))), /le4k/i)
  }
  const paths = Object.fromEntries([...names, 'WECHAT_CONFIG'].map((name) => [`${name}_FILE`, '/le4k']))
  t.notMatch(shown(failure(() => readSettings(paths))), /le4k/i, 'nor where a file is')
})

t.test('readSettings() freezes what it answers, Buffers excepted', async (t) => {
  const settings = read(...config({ apps, merchants: [{ mchid: '1900000001', apiV2Key: '2'.repeat(32) }] }))
  const loose: string[] = []
  const walk = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return
    if (!Object.isFrozen(value)) loose.push(path)
    for (const [name, inner] of Object.entries(value)) walk(inner, `${path}.${name}`)
  }
  walk(settings, 'settings')
  t.same(loose, [])
  t.throws(() => Object.assign(settings.redis, { url: 'redis://elsewhere' }), TypeError)
})

t.test('settingsExample() and settingsTable() are what the tree holds', async (t) => {
  const page = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
  t.equal(page('.env.example'), settingsExample(), 'run: node tools/generate-settings.ts')
  t.equal(page('docs/settings.md'), settingsTable(), 'run: node tools/generate-settings.ts')
})

t.test('settingsExample() shows every setting, the required ones empty, the others as they are anyway', async (t) => {
  const asked = [
    'PUBLIC_URL',
    'REDIS_URL',
    'ENCRYPTION_KEYS',
    'JWT_KEYS',
    'JWT_SECRET',
    'WECHAT_APPID',
    'WECHAT_SECRET'
  ]
  t.same(parseEnv(settingsExample()), Object.fromEntries(asked.map((name) => [name, ''])))
  const uncommented = parseEnv(settingsExample().replace(/^#([A-Z])/gm, '$1'))
  t.same(Object.keys(uncommented).sort(), Object.keys(Environment.properties).sort())
  t.strictSame(readSettings({ ...uncommented, ...base }), read())
})

t.test('settingsTable() shows every setting and no cell too many', async (t) => {
  const page = settingsTable()
  for (const name of Object.keys(Environment.properties)) t.ok(page.includes(`\n| \`${name}\` | `), name)
  const widths = page
    .split('\n')
    .filter((line) => /^\| `[A-Z]/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).length)
  t.same(new Set(widths), new Set([8]))
})
