/**
 * Three gateway processes on one Redis: what they guarantee together to WeChat and to users, also while one is killed
 * or a key is replaced.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connectPrompt, settled } from '../../lib/redis/connect.ts'
import { redisKeys } from '../../lib/redis/keys.ts'
import { type Call, startSandbox } from '../../sandbox/index.ts'
import { startRedis } from '../../tools/redis.ts'
import { API_KEY, APPID, type Environment } from '../helper.ts'
import { claims } from '../routes/api/client.ts'
import { type Instance, startInstance } from './instances.ts'

const WECHAT_TIMEOUT_MS = 1000
/** The longest time that a lease is held: two tries, the pause between them, and one second. */
const LEASE_MS = 2 * WECHAT_TIMEOUT_MS + 2000
/** Long enough for other callers to come while a call runs. */
const WECHAT_DELAY_MS = 300
/** Long enough to kill an instance in it, and shorter than WeChat's time-out. */
const LAST_CALL_MS = 900

const pem = (): string => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const [oldKey, newKey] = [pem(), pem()]

const secret = randomBytes(16).toString('hex')
const redis = await startRedis()
const sandbox = await startSandbox({ apps: [{ appid: APPID, secret }] })
const operator = connectPrompt(redis.url, () => undefined)
await settled(operator, 1000)
t.teardown(async () => {
  operator.disconnect()
  await sandbox.close()
  await redis.stop()
})

const keys = redisKeys('wxgate')
const settings: Environment = {
  LOG_LEVEL: 'warn',
  PUBLIC_URL: 'https://wx.example.test',
  REDIS_URL: redis.url,
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  JWT_KEYS: `${oldKey}\n${newKey}`,
  WECHAT_APPID: APPID,
  WECHAT_SECRET: secret,
  WECHAT_API_ORIGIN: sandbox.origin,
  WECHAT_TIMEOUT_MS: String(WECHAT_TIMEOUT_MS),
  INTERNAL_API_KEYS: API_KEY,
  RATE_LIMIT: '0'
}

type Three = readonly [Instance, Instance, Instance]

async function startThree(t: Test, change: Environment = {}): Promise<Three> {
  const one = () => startInstance(t, { ...settings, ...change })
  return Promise.all([one(), one(), one()])
}

const three = await startThree(t)

const fetched = (api: Call['api']): number => sandbox.calls().filter((call) => call.api === api).length

/** Answers of `count` calls, which go to the instances in turn and all at once. */
const crowd = <Answer>(instances: readonly Instance[], count: number, call: (instance: Instance) => Promise<Answer>) =>
  Promise.all(Array.from({ length: count }, (_, n) => call(instances[n % instances.length] as Instance)))

const statuses = (answers: { status: number }[]): number[] => [...new Set(answers.map(({ status }) => status))]

const accessToken = (instance: Instance) => instance.call(`/internal/apps/${APPID}/access-token`, undefined, API_KEY)

const seen = (instance: Instance, token = '') => instance.call('/api/session', undefined, token)

async function logIn(instance: Instance) {
  const { code, openid } = sandbox.login({ appid: APPID })
  const { json } = await instance.call('/api/login', { code })
  return { openid, token: json.token ?? '', refreshToken: json.refreshToken ?? '' }
}

/** No token anywhere: as before the first call, or after Redis was emptied. */
async function forgetAccessToken(): Promise<void> {
  await operator.del(keys.accessToken(APPID))
  sandbox.clearCalls()
}

t.test('fifty callers at three instances without an access_token cause one fetch', async (t) => {
  const { openid, token } = await logIn(three[0])
  await forgetAccessToken()
  sandbox.fault({ api: 'stable_token', delayMs: WECHAT_DELAY_MS })
  const [phones, handed] = await Promise.all([
    crowd(three, 25, (instance) => {
      const { code } = sandbox.phoneButton({ appid: APPID, openid })
      return instance.call('/api/phone', { code }, token)
    }),
    crowd(three, 25, accessToken)
  ])
  t.same(statuses([...phones, ...handed]), [200])
  t.equal(new Set(handed.map(({ json }) => json.accessToken)).size, 1)
  t.equal(fetched('stable_token'), 1)
  t.equal(fetched('getuserphonenumber'), 25)
})

t.test('what a killed instance was fetching the others fetch once, within its lease', async (t) => {
  const victim = await startInstance(t, settings)
  const { code } = sandbox.login({ appid: APPID })
  await forgetAccessToken()
  sandbox.fault({ api: 'stable_token', delayMs: LAST_CALL_MS })
  sandbox.fault({ api: 'stable_token', delayMs: WECHAT_DELAY_MS })
  sandbox.fault({ api: 'code2session', delayMs: LAST_CALL_MS, httpStatus: 502 })
  sandbox.fault({ api: 'code2session', delayMs: WECHAT_DELAY_MS })
  const lost = Promise.allSettled([accessToken(victim), victim.call('/api/login', { code })])
  while (fetched('stable_token') + fetched('code2session') < 2) await pause(5)
  await victim.stop('SIGKILL')
  t.match(await lost, [{ status: 'rejected' }, { status: 'rejected' }], 'nobody got an answer of it')
  t.equal(await operator.exists(keys.accessTokenLock(APPID)), 1, 'it died holding the lock')

  const startedAt = performance.now()
  const [handed, logins] = await Promise.all([
    crowd(three, 12, accessToken),
    crowd(three, 12, (instance) => instance.call('/api/login', { code }))
  ])
  t.ok(performance.now() - startedAt < 2 * LEASE_MS)
  t.same(statuses(handed), [200])
  t.equal(new Set(handed.map(({ json }) => json.accessToken)).size, 1)
  t.equal(fetched('stable_token'), 2, "the dead one's, and one more")
  t.same(statuses(logins), [200])
  t.equal(new Set(logins.map(({ json }) => claims(json.token ?? '').sid)).size, 1)
  t.equal(fetched('code2session'), 2)
})

t.test('one login code at three instances at once is one call to WeChat, and one session', async (t) => {
  const { code } = sandbox.login({ appid: APPID })
  sandbox.clearCalls()
  sandbox.fault({ api: 'code2session', delayMs: WECHAT_DELAY_MS })
  const answers = await crowd(three, 12, (instance) => instance.call('/api/login', { code }))
  t.same(statuses(answers), [200])
  t.equal(new Set(answers.map(({ json }) => claims(json.token ?? '').sid)).size, 1)
  t.equal(fetched('code2session'), 1)
})

t.test('one refresh token at three instances at once has one successor, which works at each', async (t) => {
  const { refreshToken } = await logIn(three[0])
  const refresh = (token: string) => (instance: Instance) =>
    instance.call('/api/token/refresh', { refreshToken: token })
  const answers = await crowd(three, 12, refresh(refreshToken))
  t.same(statuses(answers), [200])
  const successors = [...new Set(answers.map(({ json }) => json.refreshToken))]
  t.equal(successors.length, 1)
  const { json } = await refresh(successors[0] ?? '')(three[2])
  t.same(statuses(await crowd(three, 3, (instance) => seen(instance, json.token))), [200])
})

t.test('a logout everywhere at one instance holds at the others from the next request on', async (t) => {
  const user = await logIn(three[0])
  const { code } = sandbox.login({ appid: APPID, openid: user.openid })
  const { json: again } = await three[1].call('/api/login', { code })
  for (const token of [user.token, again.token])
    t.same(statuses(await crowd(three, 3, (instance) => seen(instance, token))), [200])
  t.equal((await three[2].call('/api/logout', { everywhere: true }, user.token)).status, 204)
  for (const token of [user.token, again.token])
    for (const answer of await crowd(three, 3, (instance) => seen(instance, token)))
      t.match(answer, { status: 401, json: { code: 'SESSION_REVOKED' } })
  const { refreshToken } = user
  t.match(await three[1].call('/api/token/refresh', { refreshToken }), { json: { code: 'SESSION_REVOKED' } })
})

t.test('a JWT key that all instances know, put in front at one after the other, logs nobody out', async (t) => {
  const fleet: Instance[] = [...three]
  const { token, refreshToken } = await logIn(three[0])
  const tokens = [token]
  const rotated = await startThree(t, { JWT_KEYS: `${newKey}\n${oldKey}` })
  for (const [n, instance] of rotated.entries()) {
    t.equal(await fleet[n]?.stop('SIGTERM'), 0)
    fleet[n] = instance
    tokens.push((await logIn(instance)).token)
    for (const held of tokens) t.same(statuses(await crowd(fleet, 3, (door) => seen(door, held))), [200])
  }
  const { json } = await rotated[1].call('/api/token/refresh', { refreshToken })
  t.same(statuses(await crowd(fleet, 3, (door) => seen(door, json.token))), [200])
  t.equal(new Set(tokens.map((held) => held.split('.')[0])).size, 2, 'two keys have signed')
})
