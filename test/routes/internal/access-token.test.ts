/**
 * /internal/apps/{appid}/access-token and …/renew: one token for all instances and callers, and shown to nobody else.
 */
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { APPID, build, type World } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { callsOf, refused, until } from '../api/client.ts'
import { accessTokenUrl, ask } from './backend.ts'

const LIFE_SECONDS = 7200

async function start(t: Test) {
  let nowMs = Date.parse('2030-01-31T12:00:00.000Z')
  const world = await build(t, { env: { LOG_LEVEL: 'trace' }, now: () => nowMs })
  return {
    world,
    advance: (seconds: number) => {
      nowMs += seconds * 1000
    }
  }
}

const token = (app: World['app'], appid?: string) => ask(app, { url: accessTokenUrl(appid) })

t.test('GET access-token gives all instances and callers one token and its end', async (t) => {
  const { world } = await start(t)
  const other = await world.another()
  const answers = await Promise.all([world.app, other, world.app, other].map((app) => token(app)))
  const [first] = answers.map((answer) => answer.json())
  t.match(first, { accessToken: /^\S{64,}$/, expiresAt: '2030-01-31T14:00:00.000Z' })
  t.same(Object.keys(first), ['accessToken', 'expiresAt'])
  for (const answer of answers) {
    t.equal(answer.statusCode, 200)
    t.same(answer.json(), first)
    t.equal(answer.headers['cache-control'], 'no-store')
  }
  t.equal(callsOf(world.sandbox, 'stable_token').length, 1)
  t.notMatch(world.logs(), first.accessToken)
  const call = { method: 'POST', body: JSON.stringify({ code: 'x' }) }
  const url = `${world.sandbox.origin}/wxa/business/getuserphonenumber?access_token=${first.accessToken}`
  t.match(await (await fetch(url, call)).json(), { errcode: 40029 }, 'WeChat takes it')
})

t.test('GET access-token gives the next token ahead of the end, and never one that has ended', async (t) => {
  const { world, advance } = await start(t)
  const { accessToken } = (await token(world.app)).json()
  advance(LIFE_SECONDS - 301)
  t.equal((await token(world.app)).json().accessToken, accessToken)
  advance(2)
  await token(world.app)
  await until(async () => (await token(world.app)).json().accessToken !== accessToken)
  advance(LIFE_SECONDS)
  world.sandbox.fault({ api: 'stable_token', httpStatus: 500 })
  refused(t, await token(world.app), 502, 'WECHAT_BAD_RESPONSE')
})

t.test('GET access-token gives each refusal of WeChat its status and code', async (t) => {
  const { world, advance } = await start(t)
  const rows = [
    [40164, 500, 'WECHAT_CONFIG_INVALID'],
    [40125, 500, 'WECHAT_CONFIG_INVALID'],
    [45009, 429, 'WECHAT_RATE_LIMITED'],
    [45011, 429, 'WECHAT_RATE_LIMITED'],
    [47001, 502, 'WECHAT_REJECTED']
  ] as const
  for (const [errcode, status, code] of rows) {
    world.sandbox.fault({ api: 'stable_token', errcode })
    refused(t, await token(world.app), status, code, { wechat: { errcode, errmsg: /\w/, rid: /\w/ } })
    advance(31)
  }
  refused(t, await token(world.app, `wx${'0'.repeat(16)}`), 400, 'APP_UNKNOWN')
  t.match((await ask(world.app, { url: `${accessTokenUrl()}/` })).json(), { expiresAt: /Z$/ })
  t.equal((await ask(world.app, { method: 'POST', url: accessTokenUrl() })).statusCode, 404)
  t.equal(await world.app.redis.exists(world.app.keys.accessToken(APPID)), 1)
})

/** A WeChat whose tokens live as long as it is told, one after the other. */
async function startShortLived(t: Test) {
  let nowMs = Date.parse('2030-01-31T12:00:00.000Z')
  const fetchedAt: number[] = []
  let answer: unknown
  const { origin } = await listenFor(t, (_request, response) => {
    fetchedAt.push(nowMs)
    response.end(JSON.stringify({ access_token: `token-${fetchedAt.length}`, ...(answer as object) }))
  })
  const world = await build(t, { env: { WECHAT_API_ORIGIN: origin }, now: () => nowMs })
  const isIdle = async () => (await world.app.redis.exists(world.app.keys.accessTokenLock(APPID))) === 0
  return {
    ...world,
    fetchedAt,
    /** Ends what was held, and begins with tokens of another life. */
    async begin(next: object) {
      await until(isIdle)
      nowMs += 60_000
      await world.app.redis.del(world.app.keys.accessToken(APPID))
      fetchedAt.splice(0)
      answer = next
    },
    answerWith(next: object) {
      answer = next
    },
    async advance(milliseconds: number) {
      await until(isIdle)
      nowMs += milliseconds
    },
    now: () => nowMs
  }
}

t.test('a short-lived token is fetched at most once a second, by all callers of all instances', async (t) => {
  const { app, another, fetchedAt, begin, advance, now } = await startShortLived(t)
  const other = await another()
  const rows: [expiresIn: unknown, fetches: number][] = [
    [1, 9],
    [1.9, 9],
    [2, 6],
    [3, 5],
    ['3', 5],
    [10, 2],
    [60, 1],
    [299, 1],
    ['7200', 1],
    [1e12, 1]
  ]
  for (const [expires_in, fetches] of rows) {
    await begin({ expires_in })
    for (let step = 0; step <= 16; step += 1) {
      const answers = await Promise.all([app, other].map((some) => token(some)))
      t.ok(
        answers.every((got) => Date.parse(got.json().expiresAt) > now()),
        'it lives'
      )
      await advance(500)
    }
    const pauses = fetchedAt.slice(1).map((at, index) => at - (fetchedAt[index] ?? 0))
    t.ok(
      pauses.every((pause) => pause >= 1000),
      `${expires_in}: ${pauses}`
    )
    t.ok(fetchedAt.length <= fetches, `${expires_in}: ${fetchedAt.length} fetches in eight seconds`)
  }
})

t.test('a life that is none is refused, and not asked for at every call', async (t) => {
  const { app, fetchedAt, begin } = await startShortLived(t)
  const none: object[] = [0, -1, 'soon', '', null, 'NaN', {}, [], '0.5'].map((expires_in) => ({ expires_in }))
  for (const answer of [...none, {}]) {
    await begin(answer)
    for (let call = 0; call < 5; call += 1) refused(t, await token(app), 502, 'WECHAT_BAD_RESPONSE')
    t.equal(fetchedAt.length, 1, JSON.stringify(answer))
  }
})

t.test('a token in its last third is handed out while the next is fetched, and that may fail', async (t) => {
  const { app, fetchedAt, begin, advance, answerWith } = await startShortLived(t)
  await begin({ expires_in: 60 })
  const { accessToken } = (await token(app)).json()
  await advance(39_000)
  t.equal((await token(app)).json().accessToken, accessToken)
  await begin({ expires_in: 60 })
  await token(app)
  await advance(41_000)
  t.equal((await token(app)).json().accessToken, 'token-1')
  await advance(1000)
  t.equal((await token(app)).json().accessToken, 'token-2')

  await begin({ expires_in: 60 })
  const { accessToken: last } = (await token(app)).json()
  answerWith({})
  for (const milliseconds of [41_000, 2000, 3000]) {
    await advance(milliseconds)
    t.equal((await token(app)).json().accessToken, last, 'the renewal fails, the old one serves')
  }
  await advance(20_000)
  refused(t, await token(app), 502, 'WECHAT_BAD_RESPONSE')
  t.equal(fetchedAt.length, 5)
})

t.test('what another version holds is read: the end of a token alone', async (t) => {
  const { world, advance } = await start(t)
  const { app, sandbox } = world
  const place = app.keys.accessToken(APPID)
  const hold = (text: string) => app.redis.set(place, app.sealer.seal(Buffer.from(text), place))
  const endsAt = Date.parse('2030-01-31T14:00:00.000Z')
  await hold(`${endsAt} older`)
  t.match((await token(app)).json(), { accessToken: 'older', expiresAt: '2030-01-31T14:00:00.000Z' })
  advance(LIFE_SECONDS - 301)
  t.equal((await token(app)).json().accessToken, 'older')
  t.equal(callsOf(sandbox, 'stable_token').length, 0)
  advance(2)
  await until(async () => (await token(app)).json().accessToken !== 'older')
  t.equal(callsOf(sandbox, 'stable_token').length, 1)
  const opened = app.sealer.open((await app.redis.getBuffer(place)) ?? Buffer.of(), place)?.toString() ?? ''
  t.match(opened, /^\d{13} \S{64,} \d{13} \d{13}$/, 'the versions before read the first two, or three')
})

const renew = (app: World['app'], accessToken: unknown, appid?: string) =>
  ask(app, { method: 'POST', url: `${accessTokenUrl(appid)}/renew`, payload: { accessToken } })

t.test(
  'POST access-token/renew renews the token that is held, once, and gives the one that is held for any other',
  async (t) => {
    const { world } = await start(t)
    const { app, sandbox } = world
    const other = await world.another()
    const { accessToken: first } = (await token(app)).json()
    sandbox.expireToken({ appid: APPID })
    sandbox.clearCalls()
    const answers = await Promise.all([app, other, app, other].map((some) => renew(some, first)))
    const [{ accessToken: second = '' } = {}] = answers.map((answer) => answer.json())
    for (const answer of answers) {
      t.equal(answer.statusCode, 200)
      t.same(answer.json(), { accessToken: second, expiresAt: '2030-01-31T14:00:00.000Z' })
      t.equal(answer.headers['cache-control'], 'no-store')
    }
    t.not(second, first)
    t.equal(callsOf(sandbox, 'stable_token').length, 1, 'fetched once')
    t.equal((await token(other)).json().accessToken, second)

    const others = [first, 'never-a-token', `${second}x`, second.toUpperCase(), ' ', 'x'.repeat(1024)]
    for (const forged of others) {
      const answer = await renew(app, forged)
      t.same(answer.json(), { accessToken: second, expiresAt: '2030-01-31T14:00:00.000Z' })
    }
    t.equal(callsOf(sandbox, 'stable_token').length, 1, 'nothing is fetched for them')
    for (const wrong of ['', null, 7, undefined, 'x'.repeat(1025)]) {
      const answer = await renew(app, wrong)
      refused(t, answer, 400, 'FST_ERR_VALIDATION', { message: /accessToken/ })
    }
    refused(t, await renew(app, first, `wx${'0'.repeat(16)}`), 400, 'APP_UNKNOWN')
    sandbox.expireToken({ appid: APPID })
    sandbox.fault({ api: 'stable_token', errcode: 40164 })
    refused(t, await renew(app, second), 500, 'WECHAT_CONFIG_INVALID', { wechat: { errcode: 40164 } })
    for (const secret of [first, second, 'never-a-token']) t.notMatch(world.logs(), secret)
  }
)

/** A WeChat that calls every token stale; answers when it was asked for each, but for the forced ones. */
async function startStale(t: Test, tokenOf: (count: number) => string) {
  const askedAt: number[] = []
  const { origin } = await listenFor(t, async (request, response) => {
    const isToken = request.url === '/cgi-bin/stable_token'
    const body = (await buffer(request)).toString()
    if (isToken && !body.includes('force_refresh')) askedAt.push(performance.now())
    const token = { access_token: tokenOf(askedAt.length), expires_in: 7200 }
    response.end(JSON.stringify(isToken ? token : { errcode: 40001, errmsg: 'invalid credential' }))
  })
  const { app, another } = await build(t, { env: { WECHAT_API_ORIGIN: origin } })
  return { apps: [app, await another()], askedAt }
}

t.test(
  'where WeChat calls every token stale, it is asked for one at most once a second by all instances',
  async (t) => {
    const kinds: Record<string, (count: number) => string> = {
      'a new one each time': (count) => `token-${count}`,
      'the same each time': () => 'token',
      'two by turns': (count) => `token-${count % 2}`
    }
    for (const [kind, tokenOf] of Object.entries(kinds)) {
      const { apps, askedAt } = await startStale(t, tokenOf)
      const pass = (app: World['app']) => ask(app, { url: `/internal/apps/${APPID}/wechat/cgi-bin/x` })
      for (let round = 0; round < 3; round += 1)
        for (const answer of await Promise.all([...apps, ...apps, ...apps].map(pass))) {
          t.equal(answer.statusCode, 200, kind)
          t.match(answer.json(), { errcode: 40001 })
        }
      const pauses = askedAt.slice(1).map((at, index) => at - (askedAt[index] ?? 0))
      // A timer may be early by a millisecond.
      t.ok(
        pauses.every((pause) => pause >= 990),
        `${kind}: ${pauses.map(Math.round)}`
      )
      t.ok(askedAt.length >= 3, `${kind}: each round renews`)
    }
  }
)
