/**
 * Bearer tokens against every kind of forger, also one who has a key; and secrets at rest while their encryption keys
 * are replaced.
 */
import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { APPID, build, type Environment, logIn, OTHER_APPID } from '../../helper.ts'
import { bearer, bothApps, callsOf, claims, get, post, refused } from './client.ts'

const SECRET = 'a secret of the tests, long enough for HS256'
const P256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ED25519 = generateKeyPairSync('ed25519')
const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()

const jwtKeys = (...keys: KeyObject[]): Environment => ({ JWT_SECRET: undefined, JWT_KEYS: keys.map(pem).join('') })

/** Our own three ways to sign, as an attacker with the key could. */
const SIGNERS: Record<string, { env: Environment; sign: (text: string) => Buffer }> = {
  HS256: { env: { JWT_SECRET: SECRET }, sign: (text) => hmac(SECRET, text) },
  ES256: { env: jwtKeys(P256.privateKey), sign: signEs256 },
  EdDSA: { env: jwtKeys(ED25519.privateKey), sign: (text) => sign(null, Buffer.from(text), ED25519.privateKey) }
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

function signEs256(text: string): Buffer {
  return sign('sha256', Buffer.from(text), { key: P256.privateKey, dsaEncoding: 'ieee-p1363' })
}

const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

const signed = (text: string, signer: (text: string) => Buffer): string =>
  `${text}.${signer(text).toString('base64url')}`

const headerOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString())

const ask = (app: FastifyInstance, token: string) => get(app, '/api/session', bearer(token))

async function refuseAll(t: Test, app: FastifyInstance, forged: Record<string, string>): Promise<void> {
  for (const [name, token] of Object.entries(forged)) {
    const answer = await ask(app, token)
    t.match(answer.json(), { statusCode: 401, code: 'TOKEN_INVALID' }, name)
    t.equal(answer.statusCode, 401)
  }
}

t.test('tokens are JWTs that any library verifies, each with its salt', async (t) => {
  const { app, sandbox } = await build(t, { env: { JWT_SECRET: SECRET } })
  const { token, openid } = await logIn(app, sandbox)
  const expected = { issuer: 'https://wx.example.test', audience: APPID, subject: openid, algorithms: ['HS256'] }
  const { payload, protectedHeader } = await jwtVerify(token, Buffer.from(SECRET), expected)
  t.same(Object.keys(payload).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub', 'unionid'])
  t.equal(Number(payload.exp) - Number(payload.iat), 900)
  t.match(payload, { jti: /^[\w-]{16}$/, sid: /^[\w-]{22}$/, unionid: /\w/ })
  t.match(protectedHeader, { alg: 'HS256', kid: /^[\w-]{16}$/ })
  const other = await logIn(app, sandbox, openid)
  t.not(claims(other.token).jti, payload.jti)
  t.not(claims(other.token).sid, payload.sid)
})

for (const [alg, signer] of Object.entries(SIGNERS)) {
  t.test(`${alg} tokens with another header, body or signature are refused`, async (t) => {
    const { app, sandbox } = await build(t, { env: signer.env })
    const { token } = await logIn(app, sandbox)
    const [head = '', body = '', signature = ''] = token.split('.')
    const header = headerOf(token)
    const withHeader = (change: object) => signed(`${encode({ ...header, ...change })}.${body}`, signer.sign)
    t.equal((await ask(app, signed(`${head}.${body}`, signer.sign))).statusCode, 200, 'the forger works')
    const jwk = { ...createPublicKey(P256.privateKey).export({ format: 'jwk' }), kid: header.kid }
    await refuseAll(t, app, {
      'another user': `${head}.${encode({ ...claims(token), sub: 'oSomebodyElse' })}.${signature}`,
      'changed signature': `${head}.${body}.${signature.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'))}`,
      'another key': signed(`${head}.${body}`, (text) => hmac('x'.repeat(40), text)),
      'empty signature': `${head}.${body}.`,
      'no signature': `${head}.${body}`,
      'one segment more': `${token}.x`,
      'one empty segment more': `${token}.`,
      'bytes appended': `${token}AAAA`,
      'one letter appended': `${token}A`,
      padded: `${token}=`,
      'with a line of rubbish': `${token}!`,
      'alg none': `${encode({ ...header, alg: 'none' })}.${body}.`,
      'alg None': `${encode({ ...header, alg: 'None' })}.${body}.`,
      'alg none, signed': withHeader({ alg: 'none' }),
      'alg left out': withHeader({ alg: undefined }),
      'alg HS512': withHeader({ alg: 'HS512' }),
      'alg as an array': withHeader({ alg: [alg] }),
      'kid left out': withHeader({ kid: undefined }),
      'kid unknown': withHeader({ kid: 'unknown' }),
      'kid of a path': withHeader({ kid: '../../../../dev/null' }),
      'kid of a prototype': withHeader({ kid: '__proto__' }),
      'kid as an array': withHeader({ kid: [header.kid] }),
      'kid as an object': withHeader({ kid: { toString: header.kid } }),
      'jwk that it brings along': withHeader({ jwk }),
      'jku of its own': withHeader({ jku: 'http://127.0.0.1:1/jwks.json' }),
      'x5u of its own': withHeader({ x5u: 'http://127.0.0.1:1/x.pem' }),
      'crit unknown': withHeader({ crit: ['exp2'], exp2: 1 }),
      'crit empty': withHeader({ crit: [] }),
      'b64 false': withHeader({ crit: ['b64'], b64: false }),
      'header no JSON': signed(`${Buffer.from('{').toString('base64url')}.${body}`, signer.sign),
      'body no JSON': signed(`${head}.${Buffer.from('{').toString('base64url')}`, signer.sign),
      'body null': signed(`${head}.${Buffer.from('null').toString('base64url')}`, signer.sign),
      'body an array': signed(`${head}.${encode([claims(token)])}`, signer.sign),
      'body empty': signed(`${head}.`, signer.sign),
      'dots only': '..',
      __proto__: '__proto__'
    })
    t.equal((await ask(app, token)).statusCode, 200, 'the genuine one still opens')
  })

  t.test(`${alg} tokens have one spelling`, async (t) => {
    const { app, sandbox } = await build(t, { env: signer.env })
    const { token } = await logIn(app, sandbox)
    await refuseAll(t, app, respellings(token))
  })

  t.test(`${alg} tokens that say anything else than ours do are refused, though the signature is right`, async (t) => {
    const nowMs = Date.parse('2030-01-01T00:00:00Z')
    const world = await build(t, { env: signer.env, now: () => nowMs })
    const { sandbox, secrets } = world
    const app = await world.another(bothApps(t, secrets))
    const { token } = await logIn(world.app, sandbox)
    const [head = ''] = token.split('.')
    const now = nowMs / 1000
    const saying = (change: object) => signed(`${head}.${encode({ ...claims(token), ...change })}`, signer.sign)
    t.equal((await ask(app, saying({}))).statusCode, 200, 'the forger works')
    const missing = ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'].map(
      (claim) => [`${claim} left out`, saying({ [claim]: undefined })] as const
    )
    const mistyped = ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'].flatMap((claim) =>
      [null, true, '', [], {}, [claims(token)[claim]]].map(
        (value) => [`${claim} ${JSON.stringify(value)}`, saying({ [claim]: value })] as const
      )
    )
    await refuseAll(t, app, {
      ...Object.fromEntries([...missing, ...mistyped]),
      'another issuer': saying({ iss: 'https://other.example.test' }),
      'issuer in another spelling': saying({ iss: 'https://wx.example.test/' }),
      'app that is not configured': saying({ aud: 'wx00000000000000ff' }),
      'several audiences': saying({ aud: [APPID, OTHER_APPID] }),
      'exp as text': saying({ exp: String(now + 900) }),
      'exp never': saying({ exp: 'never' }),
      'from the future': saying({ iat: now + 3600, exp: now + 4500 }),
      'not yet valid': saying({ nbf: now + 3600 })
    })
    refused(t, await ask(app, saying({ exp: now })), 401, 'TOKEN_EXPIRED')
    refused(t, await ask(app, saying({ exp: -1 })), 401, 'TOKEN_EXPIRED')
    for (const elsewhere of [{ aud: OTHER_APPID }, { sub: 'oSomebodyElse' }, { sid: 'u' }, { sid: 'k' }])
      refused(t, await ask(app, saying(elsewhere)), 401, 'SESSION_REVOKED')
  })
}

/** Other spellings of the same bytes: letters with spare bits set, and the alphabet of plain base64. */
function respellings(token: string): Record<string, string> {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const bytes = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url')
  const same = [...alphabet]
    .map((letter) => token.slice(0, -1) + letter)
    .filter((other) => other !== token)
    .filter((other) => Buffer.from(other.slice(other.lastIndexOf('.') + 1), 'base64url').equals(bytes))
  const plain = `${token.slice(0, token.lastIndexOf('.') + 1)}${bytes.toString('base64')}`
  return Object.fromEntries([...same, plain].map((other) => [`… ${other.slice(-4)}`, other]))
}

t.test('a public key is no secret, and a key signs for itself alone', async (t) => {
  const { app, sandbox, another } = await build(t, { env: jwtKeys(P256.privateKey, ED25519.privateKey) })
  const es256 = await logIn(app, sandbox)
  const eddsa = await logIn(await another(jwtKeys(ED25519.privateKey, P256.privateKey)), sandbox)
  for (const [{ token }, { publicKey }] of [[es256, P256] as const, [eddsa, ED25519] as const]) {
    t.equal((await ask(app, token)).statusCode, 200)
    const [head = '', body = ''] = token.split('.')
    const asHmac = `${encode({ ...headerOf(token), alg: 'HS256' })}.${body}`
    const { x = '' } = publicKey.export({ format: 'jwk' })
    const spki = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const der = publicKey.export({ type: 'spki', format: 'der' })
    for (const secret of [spki, spki.trim(), der, der.toString('base64'), x, Buffer.from(x, 'base64url')]) {
      const forge = (text: string) => signed(text, (input) => hmac(secret, input))
      await refuseAll(t, app, {
        'HS256 by the public key': forge(asHmac),
        'the same under its own alg': forge(`${head}.${body}`)
      })
    }
  }
  const crossed = (token: string, otherHead: string, signer: (text: string) => Buffer) =>
    signed(`${otherHead}.${token.split('.')[1]}`, signer)
  const { alg, kid } = headerOf(eddsa.token)
  await refuseAll(t, app, {
    'ES256 under the header of EdDSA': crossed(es256.token, eddsa.token.split('.')[0] ?? '', signEs256),
    'ES256 under the kid of EdDSA': crossed(es256.token, encode({ alg: 'ES256', typ: 'JWT', kid }), signEs256),
    'EdDSA under the kid of ES256': crossed(
      eddsa.token,
      encode({ alg, typ: 'JWT', kid: headerOf(es256.token).kid }),
      (text) => sign(null, Buffer.from(text), ED25519.privateKey)
    ),
    'ES256 in DER': crossed(es256.token, es256.token.split('.')[0] ?? '', (text) =>
      sign('sha256', Buffer.from(text), P256.privateKey)
    )
  })
})

t.test('another issuer does not take our tokens', async (t) => {
  const { app, another, sandbox } = await build(t)
  const { headers } = await logIn(app, sandbox)
  const elsewhere = await another({ PUBLIC_URL: 'https://other.example.test' })
  refused(t, await get(elsewhere, '/api/session', headers), 401, 'TOKEN_INVALID')
})

const encryptionKey = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`

t.test('ENCRYPTION_KEYS are replaced without a loss: the old one opens, the first one seals', async (t) => {
  const [old, fresh] = [encryptionKey('older'), encryptionKey('newer')]
  const { app, another, sandbox } = await build(t, { env: { ENCRYPTION_KEYS: old } })
  const user = await logIn(app, sandbox)
  const data = sandbox.openData({ appid: APPID, openid: user.openid, data: { openGId: 'tG' } })
  const { token: accessToken } = await app.wechat.accessTokens.get(APPID)
  const places = [app.keys.sessionKeys(APPID, user.openid), app.keys.accessToken(APPID)]
  const held = async () =>
    Promise.all(places.map(async (place) => (await app.redis.getBuffer(place))?.toString('latin1') ?? ''))
  for (const value of await held()) t.match(value, /older/)
  const keyOf = (refreshToken: string) =>
    Buffer.from(refreshToken.split('.')[0] ?? '', 'base64url')
      .toString()
      .split('|')
      .at(-1)
  t.equal(keyOf(user.refreshToken), 'older')

  const both = await another({ ENCRYPTION_KEYS: `${fresh},${old}` })
  const { encryptedData, iv } = data
  t.match((await post(both, '/api/userdata', { encryptedData, iv }, user.headers)).json(), { data: { openGId: 'tG' } })
  t.equal((await both.wechat.accessTokens.get(APPID)).token, accessToken)
  t.equal(callsOf(sandbox, 'stable_token').length, 1)
  const renewed = await post(both, '/api/token/refresh', { refreshToken: user.refreshToken })
  t.equal(renewed.statusCode, 200)
  t.equal(keyOf(renewed.json().refreshToken), 'newer')

  await logIn(both, sandbox, user.openid)
  await both.wechat.accessTokens.get(APPID, accessToken)
  const [history = '', token = ''] = await held()
  t.match(history, /newer.+older/s, 'the new session_key in front of the old one')
  t.match(token, /newer/)
  t.match((await post(both, '/api/userdata', { encryptedData, iv }, user.headers)).json(), { data: { openGId: 'tG' } })

  const alone = await another({ ENCRYPTION_KEYS: fresh })
  refused(t, await post(alone, '/api/userdata', { encryptedData, iv }, user.headers), 422, 'DECRYPT_FAILED')
  const { refreshToken } = renewed.json()
  t.equal((await post(alone, '/api/token/refresh', { refreshToken })).statusCode, 200)
  refused(t, await post(alone, '/api/token/refresh', { refreshToken: user.refreshToken }), 401, 'REFRESH_INVALID')
})
