/** The sandbox's session signature: checksession and resetusersessionkey, and a key that vanishes. */
import { createHmac } from 'node:crypto'
import t from 'tap'
import type { Sandbox } from '../../sandbox/index.ts'
import { signWithSession } from '../../sandbox/wire/session-signature.ts'
import { vectors } from '../vectors.ts'
import { APPID, askToken, build, type Json, OTHER_APPID, postJson, readJson, session } from './client.ts'

const RID = /, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$/

interface Vector {
  session_key: string
  message: string
  signature: string
}

t.test('signWithSession() reproduces the vectors, with the key as text', async (t) => {
  const { official, derivedHere, trap } = vectors<{
    official: Vector
    derivedHere: Vector[]
    trap: Omit<Vector, 'signature'> & { wrongSignatureWithDecodedKey: string }
  }>('session-signature')
  for (const { session_key: key, message, signature } of [official, ...derivedHere]) {
    t.equal(signWithSession(key, message), signature)
  }
  t.not(signWithSession(trap.session_key, trap.message), trap.wrongSignatureWithDecodedKey)
})

/** Either of the two calls with right parameters, `changes` apart; null leaves one out. */
async function ask(sandbox: Sandbox, path: string, parameters: Record<string, unknown>, method = 'GET'): Promise<Json> {
  const given = Object.entries({ sig_method: 'hmac_sha256', ...parameters }).filter(([, value]) => value !== null)
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)] as [string, string]))
  return readJson(await fetch(`${sandbox.origin}/wxa/${path}?${query}`, { method }))
}

async function loggedIn(sandbox: Sandbox) {
  const { code, openid } = sandbox.login({ appid: APPID })
  const { session_key: key } = await readJson(await session(sandbox, { js_code: code }))
  const { access_token } = await askToken(sandbox)
  return { openid, key: String(key), access_token }
}

const hmac = (key: unknown) => createHmac('sha256', String(key)).update('').digest('hex')

t.test('checksession holds for the present key only', async (t) => {
  const { sandbox } = await build(t)
  const { openid, key, access_token } = await loggedIn(sandbox)
  const right = { access_token, openid, signature: hmac(key) }
  t.same(await ask(sandbox, 'checksession', right), { errcode: 0, errmsg: 'ok' })
  sandbox.login({ appid: APPID, openid })
  const refused = await ask(sandbox, 'checksession', right)
  t.equal(refused.errcode, 87009)
  t.match(refused.errmsg, RID)
  t.notOk(JSON.stringify(sandbox.calls()).includes(key))
})

t.test('resetusersessionkey gives a new key, and the old one is dead at once', async (t) => {
  const { sandbox } = await build(t)
  const { openid, key, access_token } = await loggedIn(sandbox)
  const answer = await ask(sandbox, 'resetusersessionkey', { access_token, openid, signature: hmac(key) })
  t.match(answer, { errcode: 0, errmsg: 'ok', openid, session_key: /^.{22}==$/ })
  t.not(answer.session_key, key)
  for (const path of ['checksession', 'resetusersessionkey']) {
    t.equal((await ask(sandbox, path, { access_token, openid, signature: hmac(key) })).errcode, 87009, path)
  }
  t.equal(
    (await ask(sandbox, 'checksession', { access_token, openid, signature: hmac(answer.session_key) })).errcode,
    0
  )
  const { code } = sandbox.login({ appid: APPID, openid, keepSessionKey: true })
  t.equal((await readJson(await session(sandbox, { js_code: code }))).session_key, answer.session_key)
})

t.test('both name each fault of a request', async (t) => {
  const { sandbox } = await build(t)
  const { openid, key, access_token } = await loggedIn(sandbox)
  const right = { access_token, openid, signature: hmac(key) }
  const decoded = createHmac('sha256', Buffer.from(key, 'base64')).update('').digest('hex')
  const foreign = (await askToken(sandbox, { appid: OTHER_APPID })).access_token
  for (const path of ['checksession', 'resetusersessionkey']) {
    const errcode = async (changes: Json, method?: string) =>
      (await ask(sandbox, path, { ...right, ...changes }, method)).errcode
    t.equal(await errcode({ access_token: null }), 41001)
    t.equal(await errcode({ access_token: 'made-up' }), 40001)
    t.equal(await errcode({ openid: null }), 40097)
    t.equal(await errcode({ signature: null }), 40097)
    t.equal(await errcode({ sig_method: null }), 87008)
    t.equal(await errcode({ sig_method: 'hmac_sha1' }), 87008)
    t.equal(await errcode({ openid: 'oSomebodyElse' }), 40003)
    t.equal(await errcode({ access_token: foreign }), 40003, 'not a user of that app')
    t.equal(await errcode({ signature: decoded }), 87009, 'the key is not to be decoded')
    t.equal(await errcode({}, 'POST'), 43001)
  }
})

t.test('dropSessionKey() leaves a user without key until the next login', async (t) => {
  const { sandbox } = await build(t)
  const { openid, key, access_token } = await loggedIn(sandbox)
  const { code } = sandbox.login({ appid: APPID, openid, keepSessionKey: true })
  const right = { access_token, openid, signature: hmac(key) }
  const drop = () => postJson(`${sandbox.origin}/sandbox/session-keys/drop`, { appid: APPID, openid })
  t.same(await drop(), { dropped: true })
  t.same(sandbox.dropSessionKey({ appid: APPID, openid }), { dropped: false })
  t.match(await postJson(`${sandbox.origin}/sandbox/session-keys/drop`, { appid: APPID, openid: 'oNobody' }), {
    statusCode: 404
  })
  t.equal((await ask(sandbox, 'checksession', right)).errcode, 87009)
  t.equal((await ask(sandbox, 'resetusersessionkey', right)).errcode, 87007)
  t.throws(() => sandbox.openData({ appid: APPID, openid, data: {} }), /has no session_key any more/)
  t.throws(() => sandbox.phoneButton({ appid: APPID, openid }), /has no session_key any more/)
  const renewed = (await readJson(await session(sandbox, { js_code: code }))).session_key
  t.not(renewed, key, 'a code from before finds another key')
  t.equal((await ask(sandbox, 'checksession', { ...right, signature: hmac(renewed) })).errcode, 0)
  sandbox.dropSessionKey({ appid: APPID, openid })
  const next = sandbox.login({ appid: APPID, openid, keepSessionKey: true })
  t.match((await readJson(await session(sandbox, { js_code: next.code }))).session_key, /^.{22}==$/)
})
