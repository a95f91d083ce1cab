/**
 * Every row of docs/wechat/mini-program.md 9.1 at each endpoint that can meet it: status, code, Retry-After, the number
 * of calls to WeChat, and which of its words are passed on.
 */
import t, { type Test } from 'tap'
import type { Call, Fault } from '../../sandbox/index.ts'
import { freePort } from '../../tools/free-port.ts'
import { API_KEY, APPID, build, type Environment, logIn, type World } from '../helper.ts'
import { listenRaw } from '../listen.ts'
import { type Answer, bearer, callsOf, get, login, post, refused } from './api/client.ts'

/**
 * The kind of call to WeChat. `token` fetches an access_token, because a phone exchange found none. `check` and `reset`
 * are those of session_keys. `passed` is any call that is only passed on.
 */
type Where = 'login' | 'phone' | 'token' | 'check' | 'reset' | 'passed'

interface Row {
  errcodes: number[]
  where: Where[]
  status: number
  code: string
  retryAfter?: number
}

const API: Record<Where, Call['api']> = {
  login: 'code2session',
  phone: 'getuserphonenumber',
  token: 'stable_token',
  check: 'checksession',
  reset: 'resetusersessionkey',
  passed: 'getcallbackip'
}
/** The calls with their own answer for each errcode. */
const EVERYWHERE: Where[] = ['login', 'phone', 'token', 'check', 'reset']
const WITH_TOKEN: Where[] = ['phone', 'check', 'reset']
const LOGIN_AND_TOKEN: Where[] = ['login', 'token']
/** The calls to WeChat that each call makes if nothing is repeated. */
const ONCE: Record<Where, Partial<Record<Where, number>>> = {
  login: { login: 1 },
  phone: { token: 1, phone: 1 },
  token: { token: 1 },
  check: { token: 1, check: 1 },
  reset: { token: 1, reset: 1 },
  passed: { token: 1, passed: 1 }
}

const RID = '623ea70a-74b9b592-3e3d489a'
const ERRMSG = `why, rid: ${RID}`
/** 30.5 s before the next full minute, and before midnight in Shanghai 5 h 59 min more. */
const FIRST_DAY_MS = Date.parse('2030-01-01T10:00:29.500Z')
const DAY_MS = 86_400_000
const TO_NEXT_MINUTE = 31
const TO_MIDNIGHT = 31 + 5 * 3600 + 59 * 60

/**
 * A gateway whose clock shows the same time of a new day for each row, so that no access_token, back-off or session is
 * left from the row before.
 */
async function scene(t: Test, env: Environment = {}) {
  let nowMs = FIRST_DAY_MS
  const world = await build(t, { env: { RATE_LIMIT: '0', ...env }, now: () => nowMs })
  return {
    ...world,
    /** Plays `faults` in turn to the call that `where` names. */
    async ask(where: Where, ...faults: Omit<Fault, 'api'>[]): Promise<Answer> {
      nowMs += DAY_MS
      world.sandbox.clearFaults()
      const prepared = await prepare(world, where)
      world.sandbox.clearCalls()
      for (const fault of faults) world.sandbox.fault({ api: API[where], ...fault })
      return prepared()
    }
  }
}

/** The call of a user, who is logged in already if the call needs it. It goes to the instance `at`. */
async function prepare({ app, sandbox }: World, where: Where, at = app): Promise<() => Promise<Answer>> {
  if (where === 'login') {
    const { code } = sandbox.login({ appid: APPID })
    return () => login(at, code)
  }
  const { openid, headers } = await logIn(app, sandbox)
  if (where === 'passed') return () => get(at, `/internal/apps/${APPID}/wechat/cgi-bin/getcallbackip`, bearer(API_KEY))
  if (where === 'check' || where === 'reset') {
    const path = `/internal/apps/${APPID}/users/${openid}/session-key/${where}`
    return () => at.inject({ method: 'POST', url: path, headers: bearer(API_KEY) })
  }
  const { code } = sandbox.phoneButton({ appid: APPID, openid })
  return () => post(at, '/api/phone', { code }, headers)
}

function asked({ sandbox }: Pick<World, 'sandbox'>): Partial<Record<Where, number>> {
  const counts = Object.entries(API).map(([where, api]) => [where, callsOf(sandbox, api).length] as const)
  return Object.fromEntries(counts.filter(([, count]) => count > 0))
}

/** On /api a 500 has only the errcode: WeChat's text about our configuration is not for a mini-program. */
const verdict = (door: Where, status: number, errcode: number): object =>
  status === 500 && door !== 'check' && door !== 'reset' ? { errcode } : { errcode, errmsg: ERRMSG, rid: RID }

const config = { status: 500, code: 'WECHAT_CONFIG_INVALID' }
const limited = { status: 429, code: 'WECHAT_RATE_LIMITED' }
const rejected = { status: 502, code: 'WECHAT_REJECTED' }

/** The rows with a final answer for an errcode. */
const REFUSALS: Row[] = [
  { errcodes: [40029], where: ['login', 'phone'], status: 401, code: 'CODE_INVALID' },
  { errcodes: [40163], where: ['login'], status: 401, code: 'CODE_USED' },
  { errcodes: [40226], where: ['login'], status: 403, code: 'USER_BLOCKED' },
  { errcodes: [45011], where: EVERYWHERE, ...limited, retryAfter: TO_NEXT_MINUTE },
  { errcodes: [45009], where: EVERYWHERE, ...limited, retryAfter: TO_MIDNIGHT },
  { errcodes: [44990], where: WITH_TOKEN, ...limited, retryAfter: 1 },
  { errcodes: [44991], where: WITH_TOKEN, ...limited, retryAfter: TO_NEXT_MINUTE },
  { errcodes: [44993], where: WITH_TOKEN, ...limited, retryAfter: TO_MIDNIGHT },
  { errcodes: [40001], where: ['token'], ...config },
  { errcodes: [40013], where: LOGIN_AND_TOKEN, ...config },
  { errcodes: [40013], where: ['phone'], status: 401, code: 'CODE_INVALID' },
  { errcodes: [40125, 40243], where: LOGIN_AND_TOKEN, ...config },
  { errcodes: [41002, 41004, 40002], where: LOGIN_AND_TOKEN, ...config },
  { errcodes: [41008], where: ['login'], ...rejected },
  { errcodes: [40164], where: LOGIN_AND_TOKEN, ...config },
  { errcodes: [50004, 50007, 89503, 89506, 89507], where: ['token'], ...config },
  { errcodes: [87007, 87009], where: ['reset'], status: 409, code: 'SESSION_KEY_EXPIRED' },
  { errcodes: [87008], where: ['check', 'reset'], ...rejected },
  { errcodes: [40003, 43104], where: WITH_TOKEN, ...rejected },
  { errcodes: [48001, 85407, 40002], where: WITH_TOKEN, ...rejected },
  { errcodes: [48004, 50002, 43107, 85408], where: WITH_TOKEN, ...rejected },
  { errcodes: [43101, 43108, 45168, 47003, 61010, 45015, 45047], where: WITH_TOKEN, ...rejected },
  {
    errcodes: [40230, 40231, 40232, 40233, 40234, 40235, 40236, 40237, 40238, 40239, 40240],
    where: WITH_TOKEN,
    ...config
  },
  { errcodes: [-2, 1, 40229, 40241, 41001, 43002, 47001, 99999], where: EVERYWHERE, ...rejected }
]

const one = await scene(t)

for (const { errcodes, where, status, code, retryAfter } of REFUSALS) {
  t.test(`${errcodes.join(', ')} | ${where.join(', ')} | ${status} ${code}`, async (t) => {
    for (const door of where) {
      for (const errcode of errcodes) {
        const answer = await one.ask(door, { errcode, errmsg: ERRMSG, times: 0 })
        refused(t, answer, status, code)
        t.same(answer.json().wechat, verdict(door, status, errcode), `${errcode} at ${door} tells what it may`)
        t.equal(answer.headers['retry-after'], retryAfter?.toString(), 'Retry-After')
        t.same(asked(one), ONCE[door], 'and is not repeated')
      }
    }
  })
}

const success = (door: Where): number => (door === 'reset' ? 204 : 200)

t.test('absent / 0 | all | 200', async (t) => {
  for (const door of EVERYWHERE) {
    t.equal((await one.ask(door)).statusCode, success(door), door)
    t.same(asked(one), ONCE[door === 'token' ? 'phone' : door])
  }
})

t.test('40001, 40014, 42001 | calls with access_token | renewed and repeated once', async (t) => {
  for (const door of [...WITH_TOKEN, 'passed'] as const) {
    for (const errcode of [40001, 40014, 42001] as const) {
      await one.ask('phone')
      const again = await prepare(one, door)
      one.sandbox.expireToken({ appid: APPID, errcode })
      one.sandbox.clearCalls()
      t.equal((await again()).statusCode, success(door), `${errcode} at ${door}`)
      t.same(asked(one), { token: 1, [door]: 2 })
    }
  }
})

t.test('40001, 40014, 42001 | calls with access_token | after the repeat: 500 WECHAT_CONFIG_INVALID', async (t) => {
  for (const door of WITH_TOKEN) {
    for (const errcode of [40001, 40014, 42001]) {
      const answer = await one.ask(door, { errcode, errmsg: ERRMSG, times: 0 })
      refused(t, answer, 500, 'WECHAT_CONFIG_INVALID')
      t.same(answer.json().wechat, verdict(door, 500, errcode))
      t.same(asked(one), { token: 3, [door]: 2 }, 'fetched, asked for again, forced: for one repetition')
    }
  }
})

t.test('any errcode | calls that are passed on | untouched, after the token rows too', async (t) => {
  const repeated = { token: 3, passed: 2 }
  for (const [errcode, calls] of [
    [-1, ONCE.passed],
    [45009, ONCE.passed],
    [40013, ONCE.passed],
    [87009, ONCE.passed],
    [99999, ONCE.passed],
    [40001, repeated],
    [40014, repeated],
    [42001, repeated]
  ] as const) {
    const answer = await one.ask('passed', { errcode, errmsg: ERRMSG, times: 0 })
    t.equal(answer.statusCode, 200, String(errcode))
    t.same(answer.json(), { errcode, errmsg: ERRMSG })
    t.same(asked(one), calls)
  }
  const answer = await one.ask('passed', { httpStatus: 503, garbage: true })
  t.equal(answer.statusCode, 503)
  t.match(answer.body, '<html>')
  t.same(asked(one), ONCE.passed)
})

t.test('87009 | session-key check | 200 {valid:false}', async (t) => {
  const answer = await one.ask('check', { errcode: 87009, errmsg: ERRMSG })
  t.equal(answer.statusCode, 200)
  t.same(answer.json(), { valid: false })
  t.same(asked(one), ONCE.check)
})

t.test('40164 | token | names the address to the operator, not to the client', async (t) => {
  const before = one.logs().length
  const answer = await one.ask('token', { errcode: 40164 })
  t.notMatch(answer.body, /127\.0\.0\.1/)
  t.match(one.logs().slice(before), /invalid ip 127\.0\.0\.1.*whitelist/)
})

t.test('-1 | all | 503 WECHAT_BUSY after one repetition', async (t) => {
  t.jobs = 7
  for (const door of EVERYWHERE) {
    t.test(door, { buffered: true }, async (t) => {
      const patient = await scene(t)
      t.equal((await patient.ask(door, { errcode: -1 })).statusCode, success(door), 'the repetition may succeed')
      t.same(asked(patient)[door], 2)
      const answer = await patient.ask(door, { errcode: -1, errmsg: ERRMSG, times: 0 })
      refused(t, answer, 503, 'WECHAT_BUSY', { wechat: verdict(door, 503, -1) })
      t.equal(answer.headers['retry-after'], '1')
      t.same(asked(patient), { ...ONCE[door], [door]: 2 })
    })
  }
  t.test('a login whose repetition meets a used code', { buffered: true }, async (t) => {
    const spent = await scene(t)
    refused(t, await spent.ask('login', { errcode: -1, processed: true }), 401, 'CODE_USED')
    t.same(asked(spent), { login: 2 })
  })
})

t.test('-1 | login | is not sent a third time when the repetition gets no answer', async (t) => {
  const late = await scene(t, { WECHAT_TIMEOUT_MS: '1000' })
  refused(t, await late.ask('login', { errcode: -1 }, { delayMs: 60_000 }), 504, 'WECHAT_TIMEOUT')
  t.same(asked(late), { login: 2 })
})

/** The rows in which WeChat sends no valid answer. */
const NO_ANSWERS: { name: string; fault: Omit<Fault, 'api'>; where: Where[]; status: number; code: string }[] = [
  {
    name: 'HTTP 412',
    fault: { httpStatus: 412 },
    where: ['phone', 'token'],
    status: 502,
    code: 'WECHAT_BAD_RESPONSE'
  },
  ...[
    { name: 'HTTP 404, empty', fault: { httpStatus: 404 } },
    { name: 'HTTP 500, empty', fault: { httpStatus: 500 } },
    { name: 'HTTP 502, not JSON', fault: { httpStatus: 502, garbage: true } },
    { name: 'HTTP 503, JSON', fault: { httpStatus: 503, errcode: 40029 } },
    { name: 'HTTP 200, not JSON', fault: { garbage: true } },
    { name: 'HTTP 200, empty', fault: { httpStatus: 200 } }
  ].map((row) => ({ ...row, where: EVERYWHERE, status: 502, code: 'WECHAT_BAD_RESPONSE' })),
  {
    name: 'reset before the answer',
    fault: { reset: true },
    where: EVERYWHERE,
    status: 502,
    code: 'WECHAT_UNREACHABLE'
  }
]

/** Only a GET without side effects is tried a second time. */
const calls = (door: Where, code: string) =>
  door === 'check' && code === 'WECHAT_BAD_RESPONSE' ? { token: 1, check: 2 } : ONCE[door]

for (const { name, fault, where, status, code } of NO_ANSWERS) {
  t.test(`${name} | ${where.join(', ')} | ${status} ${code}`, async (t) => {
    for (const door of where) {
      const answer = await one.ask(door, { ...fault, times: 0 })
      refused(t, answer, status, code)
      t.equal(answer.json().wechat, undefined, `${door}: WeChat said nothing`)
      t.same(asked(one), calls(door, code), door)
    }
  })
}

t.test('no answer in time | all | 504 WECHAT_TIMEOUT', async (t) => {
  const late = await scene(t, { WECHAT_TIMEOUT_MS: '300' })
  for (const door of EVERYWHERE) {
    refused(t, await late.ask(door, { delayMs: 60_000, times: 0 }), 504, 'WECHAT_TIMEOUT')
    t.same(asked(late), ONCE[door], `${door} is not repeated`)
  }
})

/** An origin whose TLS breaks off, and how often somebody came. */
async function startResetting(t: Test) {
  let connections = 0
  const { port } = await listenRaw(t, (socket) => {
    connections += 1
    socket.resetAndDestroy()
  })
  return { origin: `https://127.0.0.1:${port}`, connections: () => connections }
}

t.test('no connection, DNS, TLS | all | 502 WECHAT_UNREACHABLE after a second attempt', async (t) => {
  const tls = await startResetting(t)
  const world = await build(t, { env: { RATE_LIMIT: '0' } })
  const origins = [`http://127.0.0.1:${await freePort()}`, `https://${'x'.repeat(64)}.test`, tls.origin]
  for (const origin of origins) {
    for (const door of EVERYWHERE) {
      const app = await world.another({ WECHAT_API_ORIGIN: origin })
      if (WITH_TOKEN.includes(door)) await world.app.wechat.accessTokens.get(APPID)
      else await app.redis.del(app.keys.accessToken(APPID))
      const call = await prepare(world, door, app)
      const before = tls.connections()
      refused(t, await call(), 502, 'WECHAT_UNREACHABLE')
      t.equal(tls.connections() - before, origin === tls.origin ? 2 : 0, `${door} at ${origin.slice(0, 20)}`)
    }
  }
})
