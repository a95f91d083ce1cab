/** Requests without a body, whatever their headers announce: each is answered at once, and so is the next request. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { API_KEY, APPID, type BuildOptions, build, logIn, MCHID, type World } from '../helper.ts'
import { exchange, head, listen, type RawAnswer } from '../raw-http.ts'
import { SUCCESS } from './wechat/notices.ts'

const OPENID = 'oNobody'
const PARAMS: Record<string, string> = { appid: APPID, mchid: MCHID, openid: OPENID }

const LABELS = [
  undefined,
  'application/json',
  'application/x-www-form-urlencoded; charset=utf-8',
  'text/xml',
  'none',
  ''
]

interface Framing {
  name: string
  headers: string[]
  body: string
}

const FRAMINGS: Framing[] = [
  { name: 'no length', headers: [], body: '' },
  { name: 'length 0', headers: ['Content-Length: 0'], body: '' },
  { name: 'no chunk', headers: ['Transfer-Encoding: chunked'], body: '0\r\n\r\n' }
]

/** The answer to a wrong Content-Type with chunked coding, where it is not known yet that no chunk comes. */
const UNSUPPORTED = 415

/** An application, and the routes that it has: method and path with every parameter filled in. */
async function buildWalk(t: Test, options: BuildOptions = {}): Promise<World & { port: number; doors: string[] }> {
  const routes: RouteOptions[] = []
  const prepare = (app: FastifyInstance) =>
    void app.addHook('onRoute', (route) => {
      routes.push(route)
    })
  const world = await build(t, { env: { RATE_LIMIT: '0' }, ...options, prepare })
  const doors = routes
    .filter(({ method }) => method !== 'HEAD' && method !== 'GET')
    .map(({ method, url }) => {
      const path = url.replace(/:(\w+)/g, (_all, name) => PARAMS[name] ?? 'nothing').replace('*', 'cgi-bin/nothing')
      return `${String(method)} ${path.replace(/\/$/, '')}`
    })
  return { ...world, port: await listen(world.app), doors: [...new Set(doors)] }
}

interface Sent {
  door: string
  label?: string | undefined
  framing?: Framing
  version?: '1.0' | '1.1'
  key?: string
}

const NO_LENGTH = FRAMINGS[0] as Framing
const NEXT = head('GET /healthz HTTP/1.1', 'Host: x', 'Connection: close')

/** Sends it, and directly after it another request if this HTTP version allows that. */
async function send(port: number, { door, label, framing = NO_LENGTH, version = '1.1', key = API_KEY }: Sent) {
  const lines = [`${door} HTTP/${version}`, 'Host: x', `Authorization: Bearer ${key}`, ...framing.headers]
  if (label !== undefined) lines.push(`Content-Type: ${label}`)
  return exchange(port, head(...lines) + framing.body + (version === '1.1' ? NEXT : ''))
}

/** All at the same time, since the machine is idle while one of them waits. */
async function everyWay(
  labels: readonly (string | undefined)[],
  call: (label: string | undefined, framing: Framing) => Promise<void>
) {
  await Promise.all(labels.flatMap((label) => FRAMINGS.map((framing) => call(label, framing))))
}

const codeOf = ({ status, body }: RawAnswer): string =>
  `${status} ${body.startsWith('{') ? (JSON.parse(body).code ?? '') : body}`

t.test('every door answers, the same as where nothing is said of a body', async (t) => {
  const { port, doors, app, sandbox } = await buildWalk(t)
  const { token } = await logIn(app, sandbox)
  for (const door of ['POST /api/login', `DELETE /internal/apps/${APPID}/users/${OPENID}/sessions`])
    t.ok(doors.includes(door), door)
  t.ok(doors.length > 15, `${doors.length} doors`)

  for (const door of [...doors, 'POST /nowhere', 'OPTIONS /api/login', 'DELETE /api/test', 'PUT /internal/events']) {
    // A user's session is gone after the first logout: then the same means refused.
    const key = door.startsWith('POST /api') ? token : API_KEY
    if (door === 'POST /api/logout') await send(port, { door, key })
    const [plain, next] = await send(port, { door, key })
    t.ok(plain && plain.status < 500 && next?.status === 200, `${door}: ${plain && codeOf(plain)}`)
    // Calls passed on keep their Content-Type, and WeChat answers them.
    const isPassedOn = door.includes('/wechat/cgi-bin')
    const check = (answer: RawAnswer | undefined, name: string) =>
      isPassedOn
        ? t.ok(answer && answer.status < 500, name)
        : t.equal(answer && codeOf(answer), plain && codeOf(plain), name)
    await everyWay(['application/json', 'text/xml', ''], async (label, framing) => {
      const [answer, behind] = await send(port, { door, key, label, framing })
      const name = `${door} as ${label || 'nothing'}, ${framing.name}`
      t.equal(behind?.status, 200, `behind ${name}`)
      const isUnreadable = framing.name === 'no chunk' && !label?.includes('/')
      if (!isUnreadable || answer?.status !== UNSUPPORTED) check(answer, name)
    })
    const [old] = await send(port, { door, key, label: 'application/json', version: '1.0' })
    check(old, `${door}, HTTP/1.0`)
  }
})

t.test('calls that need no body do their work', async (t) => {
  const { port, app, sandbox } = await buildWalk(t)
  const user = `/internal/apps/${APPID}/users`
  await everyWay(LABELS.slice(0, -2), async (label, framing) => {
    const does = async (door: string, status: number, key = API_KEY) => {
      const [answer] = await send(port, { door, label, framing, key })
      t.equal(answer?.status, status, `${door} as ${label}, ${framing.name}: ${answer?.body}`)
      return answer?.body ?? ''
    }
    const { token, openid } = await logIn(app, sandbox)
    t.same(JSON.parse(await does(`POST ${user}/${openid}/session-key/check`, 200)), { valid: true })
    await does(`POST ${user}/${openid}/session-key/reset`, 204)
    await does('POST /api/logout', 204, token)
    t.match(await does('POST /api/logout', 401, token), 'SESSION_REVOKED')

    const again = await logIn(app, sandbox, openid)
    await does(`DELETE ${user}/${openid}/sessions`, 204)
    await does('POST /api/logout', 401, again.token)
    t.match(await does('POST /internal/events/nothing/redeliver', 404), 'NOT_FOUND')
    t.match(await does('POST /internal/callbacks/quarantined/nothing/retry', 404), 'NOT_FOUND')
  })
})

t.test('calls that need a body say what is missing', async (t) => {
  const { port, app, sandbox } = await buildWalk(t)
  const { token, openid } = await logIn(app, sandbox)
  const needs: [door: string, member: RegExp, key?: string][] = [
    ['POST /api/login', /'code'/],
    ['POST /api/token/refresh', /'refreshToken'/],
    ['POST /api/phone', /body/, token],
    ['POST /api/userdata', /body/, token],
    ['POST /internal/introspect', /'token'/],
    ['POST /internal/pay/orders', /'(outTradeNo|description|amount|openid)'/],
    ['POST /internal/pay/refunds', /'outTradeNo'/],
    [`POST /internal/apps/${APPID}/users/${openid}/session-key/sign`, /'data'/]
  ]
  for (const [door, member, key = API_KEY] of needs) {
    await everyWay(LABELS.slice(0, -2), async (label, framing) => {
      const [answer] = await send(port, { door, key, label, framing })
      const name = `${door} as ${label}, ${framing.name}`
      t.equal(answer && codeOf(answer), '400 FST_ERR_VALIDATION', name)
      t.match(JSON.parse(answer?.body ?? '{}').message, member, name)
    })
  }
})

t.test("WeChat's doors refuse an empty callback in their own form", async (t) => {
  const { port } = await buildWalk(t)
  for (const label of LABELS) {
    const [v2] = await send(port, { door: `POST /wechat/pay/v2/${MCHID}/notify`, label })
    t.match(v2?.headers['content-type'], 'text/xml', `v2 as ${label}`)
    t.not(v2?.body, SUCCESS)
    t.match(v2?.body, 'FAIL')
    const [v3] = await send(port, { door: `POST /wechat/pay/v3/${MCHID}/notify`, label })
    t.match(v3?.headers['content-type'], 'application/json', `v3 as ${label}`)
    t.ok((v3?.status ?? 0) >= 400, `v3 as ${label}`)
    const [push] = await send(port, { door: `POST /wechat/push/${APPID}`, label })
    t.equal(push?.status, 403, `push as ${label}`)
  }
})
