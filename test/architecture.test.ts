/** The laws of the house: who may import whom, and what every route has to declare. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import fastify, { type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import wxgate, { serverOptions } from '../app.ts'
import { readSettings } from '../lib/settings.ts'
import { build } from './helper.ts'
import { DOORS } from './routes/internal/doors.ts'

const ROOT = join(import.meta.dirname, '..')

const sourcesOf = (room: string): string[] =>
  readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(room, file))

const IMPORT = /^(?:import|export) [^;]*?from '([^']+)'|^import '([^']+)'|import\('([^']+)'\)/gms

/** Every import of a file: a path of this project from its root, or the name of a package. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  return [...text.matchAll(IMPORT)].map(([, from = '', bare = '', dynamic = '']) => {
    const specifier = from || bare || dynamic
    return specifier.startsWith('.') ? relative(ROOT, normalize(join(ROOT, dirname(file), specifier))) : specifier
  })
}

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
    const files = sourcesOf(room)
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
  const importers = sourcesOf('routes').filter((file) => importsOf(file).includes('lib/problem.ts'))
  t.same(importers, ['routes/schemas.ts'])
})

t.test('lib/ takes what it needs as arguments, never from the process', async (t) => {
  for (const file of sourcesOf('lib')) t.notMatch(readFileSync(join(ROOT, file), 'utf8'), /process\.env/, file)
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

t.test('every route has a guard, a schema for what it takes, and one for every answer', async (t) => {
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
    const { tags, summary, body, params, response } = schema as Record<string, Record<string, unknown> | undefined>
    t.ok(config?.auth, `${door} has a guard`)
    t.ok(tags && summary, `${door} says what it is`)
    t.ok(response?.['4xx'] && response['5xx'], `${door} has a shape for every error`)
    t.ok(
      Object.keys(response ?? {}).some((status) => status.startsWith('2')),
      `${door} has a shape for success`
    )
    t.equal(url.includes(':'), params !== undefined, `${door} has a schema for its parameters`)
    const takesBody = method === 'POST' && !url.startsWith('/wechat')
    t.equal(takesBody, body !== undefined, `${door} has a schema for its body`)
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

t.test('a route without a guard, or for an API key without a scope, stops the start', async (t) => {
  const { env } = await build(t)
  const settings = readSettings(env)
  const app = fastify({ ...serverOptions(settings), logger: false })
  t.teardown(() => app.close())
  await app.register(wxgate, { settings })
  t.throws(() => app.get('/forgotten', async () => 'open to all'), /does not say in config\.auth/)
  const handler = async () => 'open to every key'
  t.throws(() => app.get('/scopeless', { config: { auth: 'internal' } }, handler), /has to have config\.keyScope/)
  t.throws(() => app.get('/mixed', { config: { auth: 'none', keyScope: 'pay' } }, handler), /config\.keyScope/)
})
