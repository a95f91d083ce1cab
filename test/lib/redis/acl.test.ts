/** The rights that a Redis user needs: the least ACL of docs/operations.md, and what happens with fewer rights. */
import { randomBytes } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { NEEDED_COMMANDS } from '../../../lib/redis/needed-commands.ts'
import type { RedisOptions } from '../../../tools/redis.ts'
import { type BuildOptions, build, logIn, type World } from '../../helper.ts'
import { startWithUser } from '../../redis-user.ts'
import { get, until } from '../../routes/api/client.ts'
import { notify, payment, signed } from '../../routes/wechat/notices.ts'

const ROOT = join(import.meta.dirname, '../../..')
const OPERATIONS = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')

/** As the docs have it, with another password. */
const [, DOCUMENTED = ''] = /^ACL SETUSER wxgate on >PASSWORD (.*)$/m.exec(OPERATIONS) ?? []

/** Login, session, a payment that is recorded and delivered, a refused callback, lists, order and refund. */
async function works(t: Test, world: World, what: string): Promise<void> {
  const { app, sandbox, backend, secrets } = world
  const { headers, refreshToken } = await logIn(app, sandbox)
  t.equal((await get(app, '/api/session', headers)).statusCode, 200, `${what}: session`)
  const refreshed = await app.inject({ method: 'POST', url: '/api/token/refresh', payload: { refreshToken } })
  t.equal(refreshed.statusCode, 200, `${what}: refresh`)
  backend.respond(500, 1)
  t.equal((await notify(app, signed(payment(), secrets.apiV2Key))).statusCode, 200, `${what}: recorded`)
  await until(async () => backend.events().some(({ attempts }) => attempts > 0))
  const internal = { authorization: `Bearer ${String(world.env.INTERNAL_API_KEYS)}` }
  for (const url of [
    '/internal/events?state=waiting',
    '/internal/callbacks/quarantined',
    '/internal/callbacks/refused'
  ])
    t.equal((await get(app, url, internal)).statusCode, 200, `${what}: ${url}`)
  t.equal((await get(app, '/readyz')).statusCode, 200, `${what}: ready`)
}

t.test('users with what the docs name, with less that is not needed, and with more', async (t) => {
  t.match(DOCUMENTED, /resetchannels .*\+info$/)
  const users: [what: string, rules: string, options?: RedisOptions, more?: BuildOptions['env']][] = [
    ['the documented one', DOCUMENTED],
    ['without INFO', '~wxgate:* +@all -@dangerous'],
    ['by what is needed', 'resetchannels ~wxgate:* -@all +@read +@write +@scripting +@connection -@dangerous +info'],
    ['without CONFIG', '~* &* +@all -config'],
    ['without CLIENT', '~wxgate:* +@all -client -@dangerous'],
    ['without PING, as no request needs it', '~wxgate:* +@all -@admin'],
    ['all', '~* &* +@all'],
    [
      'fsync',
      `${DOCUMENTED} +config|get`,
      { persist: true, args: ['--appendfsync', 'always'] },
      { EVENT_DURABILITY: 'fsync' }
    ]
  ]
  for (const [what, rules, options, more] of users) {
    const { admin, env } = await startWithUser(t, rules, options)
    const world = await build(t, { env: { ...env, ...more } })
    await works(t, world, what)
    const denied = (await admin.call('ACL', 'LOG')) as unknown[][]
    const objects = denied.map((entry) => String(entry[entry.indexOf('object') + 1]))
    const harmless = /^(info|config\|get|config|client\|\w+|client)$/
    t.same(
      objects.filter((object) => !harmless.test(object)),
      [],
      `${what}: nothing else was refused`
    )
    t.notMatch(world.logs(), /"msg":"Redis cannot be used"/, what)
    await world.app.close()
  }
})

t.test('users with too little are told of, served what can be, and end when told to', async (t) => {
  const users: [what: string, rules: string][] = [
    ['no scripts', '~wxgate:* +@all -@scripting'],
    ['other keys', '~other:* +@all'],
    ['reading only', '~wxgate:* +@all -@write'],
    ['nothing', '~wxgate:*'],
    ['no streams', '~wxgate:* +@all -@stream'],
    ['no sorted sets', '~wxgate:* +@all -@sortedset'],
    ['no waiting', '~wxgate:* +@all -bzpopmin'],
    ['no hashes', '~wxgate:* +@all -@hash']
  ]
  for (const [what, rules] of users) {
    const { env } = await startWithUser(t, rules)
    const world = await build(t, { env })
    for (let time = 0; time < 3; time += 1)
      t.match((await get(world.app, '/readyz')).json(), { code: 'REDIS_UNAVAILABLE' }, what)
    t.match(world.logs(), /"cause":"NOPERM"[^\n]*the least ACL/, what)
    t.equal((await get(world.app, '/healthz')).statusCode, 200)
    await world.app.close()
  }
})

/** Of all kinds, refused ones too. */
const commandsIn = (stats: string): number =>
  [...stats.matchAll(/(?:calls|rejected_calls)=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)

t.test('a worker that Redis refuses something keeps no core busy', async (t) => {
  for (const rules of [
    '~wxgate:* +@all -@dangerous',
    '~wxgate:* +@all -eval -evalsha',
    '~wxgate:* +@all -bzpopmin',
    '~wxgate:* +@all -@sortedset',
    '~wxgate:* +@all -@list',
    '~wxgate:* +@all -@write',
    '~other:* +@all'
  ]) {
    const { admin, env } = await startWithUser(t, rules)
    const world = await build(t, {
      env: { ...env, WEBHOOK_URL: 'http://127.0.0.1:1', WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}` }
    })
    const [before, used] = [commandsIn(await admin.info('commandstats')), process.cpuUsage()]
    await pause(2000)
    const { user, system } = process.cpuUsage(used)
    t.ok((user + system) / 1000 < 1500, `${rules}: ${(user + system) / 1000} ms of CPU in 2 s`)
    const commands = commandsIn(await admin.info('commandstats')) - before
    t.ok(commands < 400, `${rules}: ${commands} commands`)
    await world.app.close()
  }
})

/** Those that wxgate makes BullMQ run. */
const QUEUE_SCRIPTS = [
  ...['addStandardJob', 'addPrioritizedJob', 'addDelayedJob', 'moveToActive', 'moveToFinished', 'moveToDelayed'],
  ...[
    'moveStalledJobsToWait',
    'extendLock',
    'extendLocks',
    'promote',
    'reprocessJob',
    'retryJob',
    'getCounts',
    'getState'
  ]
]

t.test('NEEDED_COMMANDS has all that scripts call, those of BullMQ too', (t) => {
  const ours = globSync('lib/**/*.ts', { cwd: ROOT })
  const theirs = QUEUE_SCRIPTS.map((name) =>
    globSync(`node_modules/bullmq/dist/esm/scripts/${name}-*.js`, { cwd: ROOT })
  )
  for (const [at, files] of theirs.entries()) t.equal(files.length, 1, String(QUEUE_SCRIPTS[at]))
  const texts = [...ours, ...theirs.flat()].map((file) => readFileSync(join(ROOT, file), 'utf8'))
  const called = texts.flatMap((text) => [...text.matchAll(/(?:rcall|redis\.call)\(\s*['"]([A-Za-z]+)['"]/g)])
  const names = new Set(called.map(([, name = '']) => name.toUpperCase()))
  // wxgate tries these, and works without them if Redis refuses.
  for (const name of ['INFO', 'WAITAOF']) names.delete(name)
  t.same(
    [...names].filter((name) => !NEEDED_COMMANDS.includes(name)),
    []
  )
  t.end()
})
