/** A user's sessions, as the merchant's backend sees and ends them; and who may call about users at all. */
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { API_KEY, APPID, build, type LoggedIn, logIn, OTHER_APPID } from '../../helper.ts'
import { bearer, bothApps, claims, get, keysOf, post, refused } from '../api/client.ts'
import { accessTokenUrl, ask, KEY, sessionKeyUrl, sessionsUrl } from './backend.ts'

const NOBODY = 'oNeverLoggedIn'
/** Many HTTP clients send this header also without a body. */
const JSON_LABEL = { 'content-type': 'application/json' }

async function start(t: Test, env: Record<string, string> = {}) {
  let nowMs = Date.parse('2030-01-31T12:00:00.700Z')
  const world = await build(t, { env: { RATE_LIMIT: '0', TOKEN_TTL: '100000', ...env }, now: () => nowMs })
  const { app, sandbox } = world
  return {
    world,
    app,
    advance: (seconds: number) => {
      nowMs += seconds * 1000
    },
    /** One more session of one user. */
    again: (openid?: string) => logIn(app, sandbox, openid),
    list: async (openid: string, query = '') => (await ask(app, { url: sessionsUrl(openid) + query })).json()
  }
}

const sidOf = ({ token }: LoggedIn): unknown => claims(token).sid
const idsOf = ({ items }: { items: { sessionId: string }[] }): string[] => items.map(({ sessionId }) => sessionId)

t.test('GET sessions shows what is held, newest first, and nothing else of it', async (t) => {
  const { app, again, list, advance } = await start(t, { REFRESH_TTL: '100' })
  const first = await again()
  advance(10)
  const second = await again(first.openid)
  const stranger = await again()
  t.same(await list(first.openid), {
    items: [
      { sessionId: sidOf(second), createdAt: '2030-01-31T12:00:10.000Z', expiresAt: '2030-01-31T12:01:50.000Z' },
      { sessionId: sidOf(first), createdAt: '2030-01-31T12:00:00.000Z', expiresAt: '2030-01-31T12:01:40.000Z' }
    ]
  })
  t.same(idsOf(await list(stranger.openid)), [sidOf(stranger)])

  advance(5)
  const renewed = await post(app, '/api/token/refresh', { refreshToken: first.refreshToken })
  t.equal(renewed.statusCode, 200)
  const answer = await list(first.openid)
  t.same(idsOf(answer), [sidOf(second), sidOf(first)], 'a renewal changes no place')
  t.same(Object.keys(answer.items[1]), ['sessionId', 'createdAt', 'expiresAt'])
  t.equal(answer.items[1].expiresAt, '2030-01-31T12:01:55.000Z')

  advance(95)
  t.same(idsOf(await list(first.openid)), [sidOf(first)], 'what has run out is not listed, though it is still there')
  t.ok(await app.redis.hexists(app.keys.sessions(APPID, first.openid), String(sidOf(second))))
  advance(5)
  t.same(await list(first.openid), { items: [] })
})

t.test('GET sessions goes page by page, also while sessions come and go', async (t) => {
  const { app, again, list, advance } = await start(t)
  const users = [await again()]
  const openid = users[0]?.openid ?? ''
  // Pairs of one second, so that their order is by id.
  for (let more = 1; more < 7; more += 1) {
    advance(more % 2)
    users.push(await again(openid))
  }
  const all = idsOf(await list(openid))
  t.same([...all].sort(), users.map(sidOf).sort())
  t.same(idsOf(await list(openid, '?limit=100')), all)
  t.notOk((await list(openid, '?limit=7')).next, 'nothing follows')

  const seen: string[] = []
  let query = '?limit=2'
  for (const pages of [2, 2, 2, 1]) {
    const page = await list(openid, query)
    t.equal(page.items.length, pages)
    t.equal(page.next === undefined, pages === 1)
    seen.push(...idsOf(page))
    query = `?limit=2&cursor=${encodeURIComponent(page.next)}`
  }
  t.same(seen, all)

  const { next } = await list(openid, '?limit=3')
  advance(1)
  const fresh = await again(openid)
  const left = users.find((user) => sidOf(user) === all[2])
  await post(app, '/api/logout', {}, left?.headers)
  t.same(idsOf(await list(openid, `?cursor=${next}`)), all.slice(3), 'the session at the cursor is gone')
  t.equal(idsOf(await list(openid))[0], sidOf(fresh))
})

t.test('GET sessions gives twenty by default, which is all that a user can have', async (t) => {
  const { again, list, advance } = await start(t)
  const { openid } = await again()
  for (let more = 0; more < 21; more += 1) {
    advance(1)
    await again(openid)
  }
  const { items, next } = await list(openid)
  t.equal(items.length, 20)
  t.equal(next, undefined)
})

t.test('GET sessions refuses limits and cursors that are none', async (t) => {
  const { app, again } = await start(t)
  const { openid } = await again()
  const sid = 'x'.repeat(22)
  const wrong = [
    ...['', '0', '101', '-1', '1.5', '1e1', '010', ' 1', 'all', '1&limit=2'].map((limit) => `limit=${limit}`),
    ...['', 'x', '.', sid, `abc.${sid}x`, `ABC.${sid}`, `123456789.${sid}`, `a.b.${sid.slice(2)}`, `.${sid}`].map(
      (cursor) => `cursor=${cursor}`
    ),
    `cursor=a.${sid}&cursor=a.${sid}`,
    'page=2'
  ]
  for (const query of wrong)
    refused(t, await ask(app, { url: `${sessionsUrl(openid)}?${query}` }), 400, 'FST_ERR_VALIDATION')
  const foreign = await ask(app, { url: `${sessionsUrl(openid)}?cursor=zzzzzzzz.${sid}&limit=1` })
  t.equal(foreign.statusCode, 200, 'a well-formed cursor that nobody was given')
})

t.test('DELETE sessions ends them at once on every instance, with all that is held of the user', async (t) => {
  const { world, app, again, list } = await start(t)
  const other = await world.another()
  const first = await again()
  const second = await again(first.openid)
  const stranger = await again()
  for (const user of [first, second]) t.equal((await get(other, '/api/session', user.headers)).statusCode, 200)

  const answer = await ask(app, { method: 'DELETE', url: sessionsUrl(first.openid) })
  t.equal(answer.statusCode, 204)
  t.equal(answer.body, '')
  for (const { headers, refreshToken } of [first, second]) {
    for (const instance of [app, other])
      refused(t, await get(instance, '/api/session', headers), 401, 'SESSION_REVOKED')
    refused(t, await post(other, '/api/token/refresh', { refreshToken }), 401, 'SESSION_REVOKED')
  }
  t.same(await list(first.openid), { items: [] })
  t.same(
    (await keysOf(world)).filter((key) => key.includes(`:${first.openid}}`)),
    [],
    'the session_keys too'
  )
  const sign = { method: 'POST', url: sessionKeyUrl(first.openid, 'sign'), payload: { data: '' } } as const
  refused(t, await ask(app, sign), 409, 'SESSION_KEY_EXPIRED')
  t.equal((await get(app, '/api/session', stranger.headers)).statusCode, 200, 'another user')

  const asJson = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' }
  for (const more of [{}, { headers: asJson }, { payload: { reason: 'any' } }] as InjectOptions[]) {
    const repeated = await ask(app, { method: 'DELETE', url: sessionsUrl(first.openid), ...more })
    t.equal(repeated.statusCode, 204, 'again, and whatever is sent along')
  }
  t.equal((await get(app, '/api/session', (await again(first.openid)).headers)).statusCode, 200, 'a new login is new')
})

t.test('calls about users keep apps apart', async (t) => {
  const { world, again } = await start(t)
  const app = await world.another(bothApps(t, world.secrets))
  const { openid, headers } = await again()
  t.same((await ask(app, { url: sessionsUrl(openid, OTHER_APPID) })).json(), { items: [] })
  t.equal((await ask(app, { method: 'DELETE', url: sessionsUrl(openid, OTHER_APPID) })).statusCode, 204)
  t.equal((await get(app, '/api/session', headers)).statusCode, 200)
})

/** Every call of this page, about one user. */
const everyCall = (openid: string, appid?: string): InjectOptions[] => [
  { method: 'GET', url: sessionsUrl(openid, appid) },
  { method: 'DELETE', url: sessionsUrl(openid, appid) },
  { method: 'POST', url: sessionKeyUrl(openid, 'check', appid) },
  { method: 'POST', url: sessionKeyUrl(openid, 'reset', appid) },
  { method: 'POST', url: sessionKeyUrl(openid, 'sign', appid), payload: { data: '' } }
]

t.test('each call about a user or an app has its own code for everything that is wrong about it', async (t) => {
  const { world, app, again } = await start(t)
  const { openid, token } = await again()
  world.sandbox.clearCalls()
  const calls = [...everyCall(openid), { method: 'GET', url: accessTokenUrl() } as const]
  const almost = [`${API_KEY}x`, API_KEY.slice(0, -1), API_KEY.toUpperCase(), API_KEY.replace(/.$/, '!'), token]
  for (const call of calls) {
    refused(t, await ask(app, { ...call, headers: {} }), 401, 'TOKEN_MISSING')
    for (const key of almost) refused(t, await ask(app, { ...call, headers: bearer(key) }), 401, 'TOKEN_INVALID')
  }
  for (const appid of [OTHER_APPID, 'wx', 'gh_0123456789ab', '__proto__', 'constructor', '%77x']) {
    for (const call of [...everyCall(openid, appid), { method: 'GET', url: accessTokenUrl(appid) } as const])
      refused(t, await ask(app, call), 400, 'APP_UNKNOWN')
  }
  for (const wrong of ['a%20b', 'a.b', 'a%2Fb', 'a%00', '%E4%BD%A0', 'o:x', 'o}x', '%7B'])
    for (const call of everyCall(wrong)) refused(t, await ask(app, call), 400, 'FST_ERR_VALIDATION')
  for (const url of [`${sessionsUrl(openid)}/1`, `/internal/apps/${APPID}`, `/internal/apps/${APPID}/users`])
    refused(t, await ask(app, { url }), 404, 'NOT_FOUND')
  t.same(world.sandbox.calls(), [], 'WeChat was asked nothing')
  t.equal((await get(app, '/api/session', bearer(token))).statusCode, 200, 'nothing was ended')
})

t.test('of a user who never logged in there are no sessions to list or end, and no session_key', async (t) => {
  const { world, app } = await start(t)
  for (const openid of [NOBODY, '__proto__', 'u', 'o'.repeat(128)]) {
    const [list, revoke, ...keyCalls] = everyCall(openid) as [InjectOptions, InjectOptions, ...InjectOptions[]]
    t.same((await ask(app, list)).json(), { items: [] })
    t.equal((await ask(app, revoke)).statusCode, 204)
    for (const call of keyCalls) refused(t, await ask(app, call), 409, 'SESSION_KEY_EXPIRED')
  }
  t.same(world.sandbox.calls(), [])
})

t.test('answers about users are not to be kept, and their log lines name the app, not the user', async (t) => {
  const { world, app, again } = await start(t)
  const { openid } = await again()
  const answer = await ask(app, { url: sessionsUrl(openid) })
  t.equal(answer.headers['cache-control'], 'no-store')
  t.match(answer.headers['content-type'], /^application\/json/)
  const line = JSON.parse(world.logs().trim().split('\n').at(-1) ?? '')
  t.match(line, { appid: APPID, route: /^GET \/internal\/apps\/:appid\/users\/:openid\/sessions/, status: 200 })
  t.notMatch(world.logs(), openid)
})

const userUrl = (openid: string, appid = APPID) => `/internal/apps/${appid}/users/${openid}`

t.test('DELETE sessions/{sessionId} ends one session, and leaves the others', async (t) => {
  const { app, again, list } = await start(t)
  const one = await again()
  const two = await again(one.openid)
  const stranger = await again()
  const end = (openid: string, sid: unknown) =>
    ask(app, { method: 'DELETE', url: `${sessionsUrl(openid)}/${String(sid)}`, headers: { ...KEY, ...JSON_LABEL } })
  for (let times = 0; times < 2; times += 1) t.equal((await end(one.openid, sidOf(one))).statusCode, 204)
  refused(t, await get(app, '/api/session', one.headers), 401, 'SESSION_REVOKED')
  t.same(idsOf(await list(one.openid)), [sidOf(two)])
  t.equal((await end(one.openid, sidOf(stranger))).statusCode, 204)
  t.equal(
    (await get(app, '/api/session', stranger.headers)).statusCode,
    200,
    'a session of another user is none of theirs'
  )
  for (const wrong of ['u', 'k', 'x'.repeat(21), 'x'.repeat(23), '%20'.repeat(22)])
    refused(t, await end(one.openid, wrong), 400, 'FST_ERR_VALIDATION')
  t.match((await get(app, '/api/session', two.headers)).json(), { unionid: String, sessionKeyHeld: true })
  t.equal((await end(one.openid, sidOf(two))).statusCode, 204)
  t.equal(await app.redis.exists(app.keys.sessionKeys(APPID, one.openid)), 0, 'with the last one the keys go')
  for (const method of ['GET', 'DELETE'] as const)
    refused(t, await ask(app, { method, url: userUrl(one.openid, OTHER_APPID) }), 400, 'APP_UNKNOWN')
})

t.test('GET users/{openid} shows all that is held, and no secret', async (t) => {
  const { world, app, again, advance } = await start(t, {
    SESSION_KEY_TTL: '100',
    REFRESH_TTL: '1000',
    RATE_LIMIT: '600'
  })
  const first = await again()
  advance(10)
  const second = await again(first.openid)
  const { code } = world.sandbox.phoneButton({ appid: APPID, openid: first.openid, phoneNumber: '13000000000' })
  t.equal((await post(app, '/api/phone', { code }, second.headers)).statusCode, 200)
  const show = async (openid: string) => (await ask(app, { url: userUrl(openid) })).json()
  const shown = await show(first.openid)
  t.same(
    { ...shown, counts: [] },
    {
      appid: APPID,
      openid: first.openid,
      unionid: claims(first.token).unionid,
      sessions: [
        { sessionId: sidOf(second), createdAt: '2030-01-31T12:00:10.000Z', expiresAt: '2030-01-31T12:16:50.000Z' },
        { sessionId: sidOf(first), createdAt: '2030-01-31T12:00:00.000Z', expiresAt: '2030-01-31T12:16:40.000Z' }
      ],
      sessionKeys: [{ expiresAt: '2030-01-31T12:01:50.000Z' }, { expiresAt: '2030-01-31T12:01:40.000Z' }],
      counts: []
    }
  )
  t.match(shown.counts, [{ name: 'phone-codes', count: 1, endsAt: /^2030-02-01T1[12]:/ }])
  advance(90)
  t.same((await show(first.openid)).sessionKeys, [{ expiresAt: '2030-01-31T12:01:50.000Z' }])
  advance(1000)
  t.match(await show(first.openid), { sessions: [], sessionKeys: [] })
  t.same(await show(NOBODY), { appid: APPID, openid: NOBODY, sessions: [], sessionKeys: [], counts: [] })
})

t.test('DELETE users/{openid} erases all of it, as often as it comes, and nobody else', async (t) => {
  const { world, app, again } = await start(t, { RATE_LIMIT: '600' })
  const [one, stranger] = [await again(), await again()]
  await again(one.openid)
  for (const user of [one, stranger]) {
    const { code } = world.sandbox.phoneButton({ appid: APPID, openid: user.openid, phoneNumber: '13000000000' })
    await post(app, '/api/phone', { code }, user.headers)
    const nonsense = { encryptedData: 'A'.repeat(64), iv: 'A'.repeat(22) }
    refused(t, await post(app, '/api/userdata', nonsense, user.headers), 422, 'DECRYPT_FAILED')
  }
  const counted = {
    counts: [
      { name: 'phone-codes', count: 1 },
      { name: 'failed-tries', count: 1 }
    ]
  }
  t.match((await ask(app, { url: userUrl(one.openid) })).json(), counted)
  const erase = (openid: string) =>
    ask(app, { method: 'DELETE', url: userUrl(openid), headers: { ...KEY, ...JSON_LABEL } })
  for (let times = 0; times < 2; times += 1) t.equal((await erase(one.openid)).statusCode, 204)
  refused(t, await get(app, '/api/session', one.headers), 401, 'SESSION_REVOKED')
  refused(t, await post(app, '/api/token/refresh', { refreshToken: one.refreshToken }), 401, 'SESSION_REVOKED')
  t.same((await ask(app, { url: userUrl(one.openid) })).json(), {
    appid: APPID,
    openid: one.openid,
    sessions: [],
    sessionKeys: [],
    counts: []
  })
  // The answer to a phone code is kept for ten seconds, sealed, and for sessions of this user alone.
  t.same(
    (await keysOf(world)).filter((name) => name.includes(one.openid) && !name.includes(':p:')),
    []
  )
  t.equal((await erase(NOBODY)).statusCode, 204)
  t.match((await ask(app, { url: userUrl(stranger.openid) })).json(), { ...counted, sessions: [{}] })
  t.equal(
    (await get(app, '/api/session', (await again(one.openid)).headers)).statusCode,
    200,
    'who comes back logs in anew'
  )
})
