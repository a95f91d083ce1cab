/**
 * Bodies in progress: a limit for each kind of endpoint and for each client. A client above it does not affect others.
 */
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { API_KEY, APPID, build, logIn, MCHID, type World } from './helper.ts'
import { exchange, head, listen, RawConnection } from './raw-http.ts'
import { bearer, login, post, startHeldWechat, until } from './routes/api/client.ts'
import { valuesOf } from './routes/metrics.ts'
import { FAIL, notify, payment, SUCCESS, signed, XML } from './routes/wechat/notices.ts'

const KIB = 1024
/** For each kind of endpoint. One client may use 64 KiB of it. */
const BUDGET = 256 * KIB
const BUDGETS = { pay: BUDGET, push: BUDGET, api: BUDGET, internal: BUDGET }
const PATHS = {
  pay: `/wechat/pay/v3/${MCHID}/notify`,
  push: `/wechat/push/${APPID}`,
  api: '/api/login',
  internal: `/internal/apps/${APPID}/wechat/cgi-bin/nothing`
}
type Door = keyof typeof PATHS
const DOORS = Object.keys(PATHS) as Door[]

interface Bounded extends World {
  port: number
}

async function start(t: Test, env: Record<string, string> = {}): Promise<Bounded> {
  const settings = { RATE_LIMIT: '0', TRUST_PROXY: 'loopback', ...env }
  const world = await build(t, { env: settings, bodyBudgets: BUDGETS })
  return { ...world, port: await listen(world.app) }
}

const headOf = (door: Door, address: string, ...more: string[]): string =>
  head(
    `POST ${PATHS[door]} HTTP/1.1`,
    'Host: x',
    `X-Forwarded-For: ${address}`,
    `Authorization: Bearer ${API_KEY}`,
    'Content-Type: application/json',
    ...more
  )

const underWay = async (app: FastifyInstance, door: Door) => (await valuesOf(app, 'body_bytes'))[door] ?? Number.NaN

/** Announces more than it sends, and waits until that much is counted. */
async function stall(t: Test, { app, port }: Bounded, door: Door, address: string, bytes: number) {
  const before = await underWay(app, door)
  const connection = new RawConnection(port)
  t.teardown(() => connection.socket.destroy())
  connection.send(headOf(door, address, `Content-Length: ${64 * KIB}`)).send('x'.repeat(bytes))
  await until(async () => (await underWay(app, door)) >= before + bytes || connection.received !== '')
  return connection
}

/** What a small request of this client gets. */
async function ask({ port }: Bounded, door: Door, address: string) {
  const [answer] = await exchange(port, `${headOf(door, address, 'Content-Length: 2', 'Connection: close')}{}`)
  return answer
}

/** The answer if there is room. */
const SERVED: Record<Door, number> = { pay: 404, push: 403, api: 400, internal: 404 }

async function settled(t: Test, app: FastifyInstance, name: string): Promise<void> {
  await until(async () => Object.values(await valuesOf(app, 'body_bytes')).every((bytes) => bytes === 0))
  t.same(Object.keys(await valuesOf(app, 'body_bytes')).sort(), [...DOORS].sort(), name)
}

for (const full of DOORS) {
  t.test(`bodies that stall at ${full} are bounded, and lock nobody out of another door`, async (t) => {
    const world = await start(t)
    const { app, sandbox, secrets } = world
    const connections: RawConnection[] = []
    for (const last of [1, 2, 3, 4, 5]) connections.push(await stall(t, world, full, `192.0.2.${last}`, 60 * KIB))
    const [refused] = (await connections.pop()?.answers()) ?? []
    t.match(refused, { status: 503, headers: { 'retry-after': '1', connection: 'close', 'x-request-id': /./ } })
    if (full === 'api' || full === 'internal') t.match(JSON.parse(refused?.body ?? ''), { code: 'OVERLOADED' })
    t.ok((await underWay(app, full)) <= BUDGET)

    for (const door of DOORS) t.equal((await ask(world, door, '192.0.2.99'))?.status, SERVED[door], door)
    if (full !== 'pay') {
      const paid = await notify(app, signed(payment(), secrets.apiV2Key))
      t.equal(paid.body, SUCCESS, 'a payment is taken')
    }
    if (full !== 'api') t.equal((await login(app, sandbox.login({ appid: APPID }).code)).statusCode, 200)

    for (const { socket } of connections) socket.destroy()
    await settled(t, app, 'nothing is counted any more')
    t.equal((await ask(world, full, '192.0.2.1'))?.status, SERVED[full], 'and there is room again')
  })
}

t.test('one client has at most a quarter, however it writes its address', async (t) => {
  const world = await start(t)
  const { app } = world
  const clients: [one: string, same: string, other: string][] = [
    ['192.0.2.1', '192.0.2.1', '192.0.2.2'],
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', '2001:db8:1:3::1']
  ]
  for (const door of DOORS) {
    for (const [one, same, other] of clients) {
      const first = await stall(t, world, door, one, 50 * KIB)
      const second = await stall(t, world, door, same, 20 * KIB)
      t.match(await second.answers(), [{ status: 503, headers: { connection: 'close' } }], `${door} ${same}`)
      t.equal((await ask(world, door, other))?.status, SERVED[door], `${door} ${other}`)
      t.equal(first.received, '', 'who was there first goes on')
      first.socket.destroy()
      await settled(t, app, door)
    }
  }
})

/** The endpoint of each callback, the budget that it shares, and the form of its failure. */
const CALLBACKS: [path: string, door: Door, type: string, body: string | RegExp][] = [
  [`/wechat/pay/v2/${MCHID}/notify`, 'pay', XML, FAIL],
  [`/wechat/pay/v2/${MCHID}/refund`, 'pay', XML, FAIL],
  [PATHS.pay, 'pay', 'application/json; charset=utf-8', /^\{"code":"FAIL",/],
  [PATHS.push, 'push', 'text/plain; charset=utf-8', /^(?!success)/]
]

t.test('a callback beyond the budget is refused in the form of its protocol, small or large', async (t) => {
  const world = await start(t)
  const full: Door[] = ['pay', 'push']
  const first = await Promise.all(full.map((door) => stall(t, world, door, '192.0.2.1', 60 * KIB)))
  for (const [path, door, type, body] of CALLBACKS) {
    for (const bytes of [5 * KIB, 20 * KIB]) {
      const request = headOf(door, '192.0.2.1', `Content-Length: ${bytes}`).replace(PATHS[door], path)
      const [answer] = await exchange(world.port, request + 'x'.repeat(bytes))
      t.match(answer, { status: 503, headers: { 'retry-after': '1', 'content-type': type } }, `${path} ${bytes}`)
      t.match(answer?.body, body, `${path} ${bytes}`)
    }
  }
  for (const { socket } of first) socket.destroy()
  await settled(t, world.app, 'callbacks')
})

t.test('a body in many pieces counts for what the pieces take', async (t) => {
  const { app, port } = await start(t)
  const pieces = '1\r\nx\r\n'.repeat(1000)
  for (const door of DOORS) {
    const answers = await exchange(port, headOf(door, '192.0.2.1', 'Transfer-Encoding: chunked') + pieces)
    t.match(answers, [{ status: 503 }], door)
  }
  await settled(t, app, 'pieces')
})

t.test('a body counts until it is handled', async (t) => {
  const wechat = await startHeldWechat(t)
  const world = await start(t, { WECHAT_API_ORIGIN: wechat.origin })
  const { app, port } = world
  await app.redis.ping()
  const arrived = wechat.arrived()
  const body = JSON.stringify({ text: 'x'.repeat(40 * KIB) })
  const whole = (address: string) =>
    headOf('internal', address, `Content-Length: ${body.length}`, 'Connection: close') + body
  const first = new RawConnection(port).send(whole('192.0.2.1'))
  await arrived
  t.ok((await underWay(app, 'internal')) > 40 * KIB)
  t.match(await exchange(port, whole('192.0.2.1')), [{ status: 503 }], 'with the first it is too much')
  wechat.release({ errcode: 40013, errmsg: 'invalid appid' })
  t.match(await first.answers(), [{ status: 500 }])
  await settled(t, app, 'handled')
})

t.test('however a request ends, its body counts no more', async (t) => {
  const world = await start(t)
  const { app, port, sandbox } = world
  const { token } = await logIn(app, sandbox)
  const small = '{"code":"x"}'
  const length = (bytes: number) => `Content-Length: ${bytes}`
  const chunked = 'Transfer-Encoding: chunked'
  const whole: Record<string, string> = {
    'taken whole': headOf('api', '192.0.2.1', length(small.length)) + small,
    'in chunks': `${headOf('api', '192.0.2.1', chunked)}c\r\n${small}\r\n0\r\n\r\n`,
    'no JSON': `${headOf('api', '192.0.2.1', length(3))}{"a`,
    'too large': headOf('api', '192.0.2.1', length(65_537)) + 'x'.repeat(65_537),
    'too large in chunks': `${headOf('api', '192.0.2.1', chunked)}11000\r\n${'x'.repeat(0x11000)}\r\n0\r\n\r\n`,
    'a broken chunk': `${headOf('api', '192.0.2.1', chunked)}1\r\n{\r\nzz\r\n`,
    'no key': headOf('internal', '192.0.2.1', length(20)).replace(API_KEY, token) + 'x'.repeat(20),
    'no route': headOf('api', '192.0.2.1', length(20)).replace('/api/login', '/nowhere') + 'x'.repeat(20)
  }
  for (const [name, bytes] of Object.entries(whole)) {
    const connection = new RawConnection(port).send(bytes)
    if (connection.received === '') await once(connection.socket, 'data')
    connection.socket.destroy()
    await settled(t, app, name)
  }

  for (const door of DOORS) {
    const gone = await stall(t, world, door, '192.0.2.1', 10 * KIB)
    gone.socket.destroy()
    await settled(t, app, `${door}: gone`)
    const half = await stall(t, world, door, '192.0.2.1', 10 * KIB)
    half.socket.end()
    await settled(t, app, `${door}: closed half`)
    const reset = await stall(t, world, door, '192.0.2.1', 10 * KIB)
    reset.socket.resetAndDestroy()
    await settled(t, app, `${door}: reset`)
  }

  // The second is read while the first waits for its answer. Neither answer is read.
  const two = new RawConnection(port).send(`${headOf('api', '192.0.2.1', length(small.length))}${small}`.repeat(2))
  two.socket.destroySoon()
  await settled(t, app, 'one behind the other')
  t.equal((await post(app, '/api/logout', {}, bearer(token))).statusCode, 204)
})
