/**
 * GET /.well-known/jwks.json: any library can verify our tokens with only this address, also while keys are replaced.
 */
import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { calculateJwkThumbprint, createRemoteJWKSet, exportJWK, jwtVerify } from 'jose'
import t from 'tap'
import { APPID, build, type Environment, logIn, OTHER_APPID } from '../helper.ts'
import { bearer, get, refused } from './api/client.ts'

const PATH = '/.well-known/jwks.json'
const ISSUER = 'https://wx.example.test'

const es256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const eddsa = () => generateKeyPairSync('ed25519')

const jwtKeys = (...pairs: KeyPairKeyObjectResult[]): Environment => ({
  JWT_SECRET: undefined,
  JWT_KEYS: pairs.map(({ privateKey }) => privateKey.export({ type: 'pkcs8', format: 'pem' })).join('')
})

const thumbprint = async ({ publicKey }: KeyPairKeyObjectResult): Promise<string> =>
  calculateJwkThumbprint(await exportJWK(publicKey))

const listed = async (app: FastifyInstance): Promise<string[]> =>
  (await get(app, PATH)).json().keys.map(({ kid }: { kid: string }) => kid)

/** As a backend does it that knows us by our address only. */
async function remoteKeys(app: FastifyInstance) {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return createRemoteJWKSet(new URL(`http://127.0.0.1:${port}${PATH}`))
}

t.test('jwks() lists the public keys, for anybody and for a while', async (t) => {
  const pairs = [es256(), eddsa()] as const
  const { app } = await build(t, { env: { ...jwtKeys(...pairs), INTERNAL_API_KEYS: undefined } })
  const answer = await get(app, PATH)
  t.equal(answer.statusCode, 200)
  t.match(answer.headers, { 'content-type': /^application\/json/, 'cache-control': 'public, max-age=600' })
  const use = 'sig'
  t.same(answer.json(), {
    keys: [
      { ...(await exportJWK(pairs[0].publicKey)), alg: 'ES256', kid: await thumbprint(pairs[0]), use },
      { ...(await exportJWK(pairs[1].publicKey)), alg: 'EdDSA', kid: await thumbprint(pairs[1]), use }
    ]
  })
  t.notMatch(answer.body, /"d"/)
})

t.test('jwks() has nothing to show of a shared secret', async (t) => {
  const { app } = await build(t)
  t.equal((await get(app, PATH)).body, '{"keys":[]}')
})

for (const [alg, pair] of [['ES256', es256()] as const, ['EdDSA', eddsa()] as const]) {
  t.test(`${alg} tokens are verified by the keys at the address, for their issuer and audience`, async (t) => {
    const { app, sandbox } = await build(t, { env: jwtKeys(pair) })
    const { token, openid } = await logIn(app, sandbox)
    const keys = await remoteKeys(app)
    const ours = { issuer: ISSUER, audience: APPID, subject: openid, algorithms: [alg] }
    const { payload, protectedHeader } = await jwtVerify(token, keys, ours)
    t.same(protectedHeader, { alg, typ: 'JWT', kid: await thumbprint(pair) })
    t.match(payload, { sub: openid, aud: APPID, iss: ISSUER })
    await t.rejects(jwtVerify(token, keys, { ...ours, audience: OTHER_APPID }), { message: /"aud"/ })
    await t.rejects(jwtVerify(token, keys, { ...ours, issuer: 'https://other.example.test' }), { message: /"iss"/ })
    await t.rejects(jwtVerify(`${token.slice(0, -9)}AAAAAAAAA`, keys, ours), {
      code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED'
    })
  })
}

t.test('a key is replaced without anybody being logged out: put in front, then in the end taken away', async (t) => {
  const [old, fresh] = [es256(), eddsa()]
  const { app, another, sandbox } = await build(t, { env: jwtKeys(old) })
  const before = await logIn(app, sandbox)
  const both = await another(jwtKeys(fresh, old))
  const after = await logIn(both, sandbox)
  t.same(await listed(both), [await thumbprint(fresh), await thumbprint(old)])

  const keys = await remoteKeys(both)
  for (const [{ token, headers }, pair] of [[before, old] as const, [after, fresh] as const]) {
    t.equal((await jwtVerify(token, keys)).protectedHeader.kid, await thumbprint(pair))
    t.equal((await get(both, '/api/session', headers)).statusCode, 200)
  }
  const alone = await another(jwtKeys(fresh))
  t.same(await listed(alone), [await thumbprint(fresh)])
  refused(t, await get(alone, '/api/session', bearer(before.token)), 401, 'TOKEN_INVALID')
  t.equal((await get(alone, '/api/session', after.headers)).statusCode, 200)
})
