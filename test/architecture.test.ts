/** The laws of CONTRIBUTING.md: which folder may import which, and what every route has to declare. */
import fastify, { type FastifyContextConfig, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import wxgate, { serverOptions } from '../app.ts'
import { readSettings } from '../lib/settings.ts'
import { STILL } from './architecture-exceptions.ts'
import { build } from './helper.ts'
import { DOORS } from './routes/internal/doors.ts'
import { circlesOf, exportsOf, filesIn, importsOf, textOf } from './sources.ts'

interface Law {
  room: string
  /** Rooms and single files of this project that it may import. */
  mayImport: string[]
  mayNotUse: RegExp
}

const LAWS: Law[] = [
  { room: 'lib', mayImport: ['lib/'], mayNotUse: /^(fastify|@fastify\/)/ },
  { room: 'plugins', mayImport: ['lib/', 'plugins/'], mayNotUse: /^(sandbox|tap)/ },
  { room: 'routes', mayImport: ['routes/', 'lib/problem.ts'], mayNotUse: /^(ioredis|bullmq|undici)/ },
  { room: 'sandbox', mayImport: ['sandbox/'], mayNotUse: /^(ioredis|bullmq)/ }
]

t.test('imports go one way', async (t) => {
  for (const { room, mayImport, mayNotUse } of LAWS) {
    const files = filesIn(room)
    t.ok(files.length > 3, `${room} has sources`)
    for (const file of files) {
      for (const target of importsOf(file)) {
        const isOurs = target.endsWith('.ts')
        if (isOurs)
          t.ok(
            mayImport.some((allowed) => target.startsWith(allowed)),
            `${file} may import ${target}`
          )
        else t.notMatch(target, mayNotUse, `${file} may use ${target}`)
      }
    }
  }
})

t.test('routes import lib/problem.ts only where the shared schemas are', async (t) => {
  const importers = filesIn('routes').filter((file) => importsOf(file).includes('lib/problem.ts'))
  t.same(importers, ['routes/_shared/schemas.ts'])
})

t.test('lib/ takes what it needs as arguments, never from the process', async (t) => {
  for (const file of filesIn('lib')) t.notMatch(textOf(file), /process\.env/, file)
})

/**
 * The rooms inside lib/, from the ground up. A room imports from its own floor and from those below it. A file that
 * stands in lib/ itself is a room of its own.
 */
const FLOORS: string[][] = [
  ['errors', 'util'],
  ['crypto', 'redis', 'http', 'xml', 'log'],
  ['settings', 'metrics', 'openapi', 'problem', 'limits', 'validation'],
  ['sessions', 'tokens', 'events', 'callbacks'],
  ['wechat', 'pay', 'push'],
  ['doctor', 'start']
]

/** Both protocols of WeChat Pay are rooms of their own: they know what they share, and never each other. */
const PAY_SHARED = ['lib/pay/model.ts', 'lib/pay/match.ts']

const roomOf = (file: string): string => file.split('/')[1]?.replace(/\.ts$/, '') ?? ''
const floorOf = (file: string): number => FLOORS.findIndex((rooms) => rooms.includes(roomOf(file)))
const protocolOf = (file: string): string | undefined => /^lib\/pay\/(v[23])\//.exec(file)?.[1]

function mayImport(file: string, target: string): boolean {
  const protocol = protocolOf(file)
  if (protocol !== undefined && target.startsWith('lib/pay/'))
    return protocolOf(target) === protocol || PAY_SHARED.includes(target)
  return floorOf(target) <= floorOf(file)
}

const arrowsOf = (files: string[], nameOf = (file: string) => file): Map<string, Set<string>> => {
  const arrows = new Map<string, Set<string>>()
  for (const file of files) {
    const from = arrows.get(nameOf(file)) ?? new Set()
    arrows.set(nameOf(file), from)
    const targets = importsOf(file).filter((target) => target.startsWith('lib/'))
    for (const target of targets.map(nameOf)) if (target !== nameOf(file)) from.add(target)
  }
  return arrows
}

t.test('inside lib/ nothing imports upwards, and protocols never each other', async (t) => {
  const files = filesIn('lib')
  t.same(
    files.filter((file) => floorOf(file) === -1),
    [],
    'every room has a floor'
  )
  const wrong = files.flatMap((file) =>
    importsOf(file)
      .filter((target) => target.startsWith('lib/') && !mayImport(file, target))
      .map((target) => `${file} → ${target}`)
  )
  t.same(wrong, STILL.imports)
})

t.test('no circle of files or of rooms, types included', async (t) => {
  const names = (circles: string[][]) => circles.map((circle) => circle.join(' '))
  t.same(names(circlesOf(arrowsOf(filesIn('lib')))), STILL.circles, 'files')
  t.same(names(circlesOf(arrowsOf(filesIn('lib'), roomOf))), STILL.roomCircles, 'rooms')
})

const CODE = ['lib', 'plugins', 'routes']
const EVERYTHING = [...CODE, 'sandbox', 'test', 'tools', 'bench']

t.test('what kind of route a request is for is asked of its scope, never of its URL', async (t) => {
  const ASKED = /startsWith\(['"`]\/(api|internal|wechat)|\\\/\(?(api|internal|wechat)\b/
  const asking = CODE.flatMap(filesIn).filter((file) => ASKED.test(textOf(file)))
  t.same(asking, [])
  t.match("door.startsWith('/api')", ASKED)
  t.match('/^\\/(api|internal)\\//', ASKED)
})

t.test('no line is longer than 120 columns', async (t) => {
  const isLong = (line: string) => line.length > 120
  const long = EVERYTHING.flatMap(filesIn).filter((file) => textOf(file).split('\n').some(isLong))
  t.same(long, STILL.longLines)
})

t.test('a name is exported once', async (t) => {
  const places = Map.groupBy(
    CODE.flatMap(filesIn).flatMap((file) => exportsOf(file).map((name) => ({ name, file }))),
    ({ name }) => name
  )
  const repeated = [...places].flatMap(([name, all]) => (all.length > 1 ? [name] : []))
  t.same(repeated, STILL.names)
})

t.test('no state at module level', async (t) => {
  const STATE = /^(?:export )?(?:let |const \w+(?:: [^=]+)? = new (?:Map|Set|WeakMap|WeakSet)(?:<[^;]*?>)?\(\))/m
  t.same(
    CODE.flatMap(filesIn).filter((file) => STATE.test(textOf(file))),
    STILL.state
  )
})

async function routesOf(t: Test): Promise<RouteOptions[]> {
  const { env } = await build(t)
  const settings = readSettings(env)
  const app = fastify({ ...serverOptions(settings), logger: false })
  t.teardown(() => app.close())
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    routes.push(route)
  })
  await app.register(wxgate, { settings })
  await app.ready()
  return routes.filter(({ method }) => method !== 'HEAD')
}

const SCOPES: Record<string, string> = {
  api: 'public',
  '.well-known': 'public',
  internal: 'internal',
  wechat: 'callback'
}

t.test('every route has a guard, a scope, a schema for what it takes, and one for every answer', async (t) => {
  const routes = await routesOf(t)
  const doors = routes.map(({ method, url }) => `${method} ${url.replace(/(?<=.)\/$/, '')}`)
  for (const door of [
    'GET /api/test',
    'POST /api/login',
    'POST /internal/pay/orders',
    'POST /wechat/pay/v2/:mchid/notify'
  ]) {
    t.ok(doors.includes(door), door)
  }
  for (const { method, url, schema, config, bodyLimit } of routes) {
    const door = `${method} ${url}`
    const { operationId, tags, summary, body, params, response } = schema as Record<
      string,
      Record<string, unknown> | undefined
    >
    t.ok(config?.auth, `${door} has a guard`)
    t.ok(operationId && tags && summary, `${door} says what it is`)
    t.ok(response?.['4xx'] && response['5xx'], `${door} has a shape for every error`)
    t.ok(
      Object.keys(response ?? {}).some((status) => status.startsWith('2')),
      `${door} has a shape for success`
    )
    t.equal(url.includes(':'), params !== undefined, `${door} has a schema for its parameters`)
    const takesBody = method === 'POST' && !url.startsWith('/wechat')
    t.equal(takesBody, body !== undefined, `${door} has a schema for its body`)
    t.equal(config?.scope, SCOPES[url.split('/')[1] ?? ''] ?? 'operation', `${door} says who it is for`)
    if (url.startsWith('/internal')) t.equal(config?.auth, 'internal', `${door} wants an API key`)
    if (url.startsWith('/wechat')) t.equal(config?.auth, 'wechat', `${door} verifies WeChat's signature`)
    if (url.startsWith('/wechat'))
      t.equal(bodyLimit, (url.includes('/v2/') ? 64 : 1024) * 1024, `${door} reads so much`)
    if (url.startsWith('/api')) t.match(config?.auth, /^(none|session|session-keys)$/, `${door} is for users`)
  }
})

t.test(
  "every call of the merchant's backend is in test/routes/internal/doors.ts, with the scopes that open it",
  async (t) => {
    const routes = (await routesOf(t)).filter(({ config }) => config?.auth === 'internal')
    const doors = routes.map(({ method, url }) => `${method} ${url.replace(/(?<=.)\/$/, '')}`)
    t.same(doors.sort(), Object.keys(DOORS).sort())
  }
)

t.test('a route without a guard, without a scope, or for an API key without a scope, stops the start', async (t) => {
  const { env } = await build(t)
  const settings = readSettings(env)
  const app = fastify({ ...serverOptions(settings), logger: false })
  t.teardown(() => app.close())
  await app.register(wxgate, { settings })
  t.throws(() => app.get('/forgotten', async () => 'open to all'), /does not say in config\.auth/)
  const handler = async () => 'open to every key'
  t.throws(
    () => app.get('/scopeless', { config: { auth: 'internal', scope: 'internal' } }, handler),
    /has to have config\.keyScope/
  )
  t.throws(
    () => app.get('/mixed', { config: { auth: 'none', scope: 'public', keyScope: 'pay' } }, handler),
    /config\.keyScope/
  )
  const config = { auth: 'none' } as FastifyContextConfig
  t.throws(() => app.get('/nobodys', { config }, handler), /does not say in config\.scope/)
})
