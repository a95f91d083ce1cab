/** GET /internal/apps/{appid}/access-token: one token for all instances and callers, for nobody's eyes but theirs. */
import t, { type Test } from 'tap'
import { APPID, build, type World } from '../../helper.ts'
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
