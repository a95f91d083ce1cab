/** /readyz and wxgate_redis_up: whether Redis does what the service needs, which a PING does not show. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startRedis } from '../../tools/redis.ts'
import { API_KEY, build, logIn, type World } from '../helper.ts'
import { LEAST_RIGHTS, startWithUser } from '../redis-user.ts'
import { startRedisWay } from '../redis-way.ts'
import { get, login, refused, until } from './api/client.ts'
import { notify, payment, signed } from './wechat/notices.ts'

/** Lines of the log that have this message. */
const linesOf = ({ logs }: World, message: string): Record<string, unknown>[] =>
  logs()
    .split('\n')
    .filter((line) => line.includes(`"msg":"${message}"`))
    .map((line) => JSON.parse(line))

async function isUp({ app }: World): Promise<string | undefined> {
  const { body } = await app.inject({ url: '/metrics', headers: { authorization: `Bearer ${API_KEY}` } })
  return /^wxgate_redis_up (\d)$/m.exec(body)?.[1]
}

const isReady = async ({ app }: World) => (await get(app, '/readyz')).statusCode === 200

/** Calls that read, write and record; what they were answered. */
async function callAll({ app, sandbox, secrets }: World, headers: { authorization: string }): Promise<number[]> {
  const { code } = sandbox.login({ appid: 'wx0123456789abcdef' })
  const calls = [login(app, code), get(app, '/api/session', headers), notify(app, signed(payment(), secrets.apiV2Key))]
  return (await Promise.all(calls)).map(({ statusCode }) => statusCode)
}

/** After `begin`: not ready, logged once, no 500. After `end`: ready, logged once, without a restart. */
async function inTrouble(
  t: Test,
  world: World,
  { begin, end, cause }: { begin(): unknown; end(): unknown; cause: string }
): Promise<void> {
  const { headers } = await logIn(world.app, world.sandbox)
  const before = [linesOf(world, 'Redis cannot be used').length, linesOf(world, 'Redis is back').length] as const
  await begin()
  await until(async () => !(await isReady(world)))
  for (let time = 0; time < 3; time += 1) refused(t, await get(world.app, '/readyz'), 503, 'REDIS_UNAVAILABLE')
  t.equal(await isUp(world), '0', `${cause}: the gauge`)
  t.notOk((await callAll(world, headers)).includes(500), `${cause}: no 500`)
  const told = () => linesOf(world, 'Redis cannot be used').slice(before[0])
  // On a slow machine the broken connection is logged first, and the reason why no new one can be made later.
  await until(async () => told().some((line) => line.cause === cause))
  t.equal(told().filter((line) => line.cause === cause).length, 1, `${cause}: told once`)
  t.ok(told().every(({ level, detail }) => level === 50 && /^\S+ [a-z]/.test(String(detail))))
  await end()
  await until(() => isReady(world))
  await until(async () => linesOf(world, 'Redis is back').length === before[1] + 1)
  t.equal(await isUp(world), '1')
  await until(async () => (await callAll(world, headers)).every((status) => status === 200))
}

t.test('a Redis that refuses what the service needs is not ready, and ready again when it does not', async (t) => {
  const { admin, env: own } = await startWithUser(t, LEAST_RIGHTS)
  const world = await build(t, { env: own })
  const set = (...pairs: string[]) => admin.call('CONFIG', 'SET', ...pairs)
  const user = (...rules: string[]) => admin.call('ACL', 'SETUSER', 'app', ...rules)
  const [, home = ''] = (await admin.config('GET', 'dir')) as string[]

  async function failSnapshot() {
    mkdirSync(join(home, 'dump.rdb'))
    await set('save', '3600 1000000')
    await admin.bgsave()
    await until(async () => /rdb_last_bgsave_status:err/.test(await admin.info('persistence')))
  }
  async function reconnect(...rules: string[]) {
    await user(...rules)
    await admin.call('CLIENT', 'KILL', 'USER', 'app')
  }
  const table: { what: string; cause: string; begin(): unknown; end(): unknown }[] = [
    { what: 'full', cause: 'OOM', begin: () => set('maxmemory', '1'), end: () => set('maxmemory', '0') },
    {
      what: 'a replica',
      cause: 'READONLY',
      begin: () => admin.replicaof('127.0.0.1', '1'),
      end: () => admin.call('REPLICAOF', 'NO', 'ONE')
    },
    {
      what: 'a replica without its primary',
      cause: 'MASTERDOWN',
      async begin() {
        await set('replica-serve-stale-data', 'no')
        await admin.replicaof('127.0.0.1', '1')
      },
      end: () => admin.call('REPLICAOF', 'NO', 'ONE')
    },
    {
      what: 'a primary without replicas',
      cause: 'NOREPLICAS',
      begin: () => set('min-replicas-to-write', '1'),
      end: () => set('min-replicas-to-write', '0')
    },
    {
      what: 'a disk that is full',
      cause: 'MISCONF',
      begin: failSnapshot,
      end: () => set('stop-writes-on-bgsave-error', 'no')
    },
    {
      what: 'other keys',
      cause: 'NOPERM',
      begin: () => user('resetkeys', '~other:*'),
      end: () => user('~wxgate:*')
    },
    { what: 'no command in scripts', cause: 'NOPERM', begin: () => user('-set'), end: () => user('+set') },
    ...['hset', 'zadd', 'bzpopmin', 'xadd', 'hget', 'del', 'rpush'].map((command) => ({
      what: `no ${command}`,
      cause: 'NOPERM',
      begin: () => user(`-${command}`),
      end: () => user(`+${command}`)
    })),
    { what: 'no scripts', cause: 'NOPERM', begin: () => user('-@scripting'), end: () => user('+@scripting') },
    { what: 'reading only', cause: 'NOPERM', begin: () => user('-@write'), end: () => user('+@write') },
    {
      what: 'another password',
      cause: 'WRONGPASS',
      begin: () => reconnect('resetpass', '>other'),
      end: () => user('>secret')
    },
    { what: 'a user that is off', cause: 'WRONGPASS', begin: () => reconnect('off'), end: () => user('on') },
    {
      // Redis sends the reason and closes at once, so the reason rarely arrives.
      what: 'no connection left',
      cause: 'CLOSED',
      async begin() {
        await set('maxclients', '1')
        await admin.call('CLIENT', 'KILL', 'USER', 'app')
      },
      end: () => set('maxclients', '1000')
    }
  ]
  for (const { what, ...trouble } of table) {
    t.comment(what)
    await inTrouble(t, world, trouble)
  }
})

t.test('whatever word Redis refuses with, it is no 500', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const way = await startRedisWay(t, server)
  const world = await build(t, { env: { REDIS_URL: way.url } })
  const answers: [cause: string, answer: string][] = [
    ['LOADING', 'LOADING Redis is loading the dataset in memory'],
    ['BUSY', 'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.'],
    ['CLUSTERDOWN', 'CLUSTERDOWN Hash slot not served'],
    ['MOVED', 'MOVED 3999 127.0.0.1:6381'],
    ['ASK', 'ASK 3999 127.0.0.1:6381'],
    ['CROSSSLOT', "CROSSSLOT Keys in request don't hash to the same slot"],
    ['UNBLOCKED', 'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)'],
    ['DENIED', 'DENIED Redis is running in protected mode because protected mode is enabled'],
    ['NOAUTH', 'NOAUTH Authentication required.'],
    ['EXECABORT', 'EXECABORT Transaction discarded because of previous errors.'],
    ['COMMAND', "ERR unknown command 'evalsha', with args beginning with: 'aa' '0' "],
    ['READONLY', 'ERR Error running script (call to f_13e0): @user_script:1: -READONLY You can not write'],
    ['NOPERM', "ERR The user executing the script can't run this command or subcommand script: 13e0"],
    ['MAXCLIENTS', 'ERR max number of clients reached'],
    ['ADDRESS', 'ERR illegal address: 10.0.0.5:4711'],
    // Answers of proxies in front of a hosted Redis.
    ['ERR', 'ERR Connection timed out'],
    ['ERR', 'ERR handle response, backend conn reset'],
    ['upstream', 'upstream failure'],
    ['UNHEARD', 'UNHEARD of by anybody']
  ]
  for (const [cause, answer] of answers) {
    t.comment(cause)
    await inTrouble(t, world, { cause, begin: () => way.refuse(answer), end: () => way.refuse(undefined) })
  }
  t.notMatch(world.logs(), /with args|illegal address/, 'what was asked stays out of the log')
})

t.test('many who ask at once share a probe', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const { app } = await build(t, { redis: server, env: { ROLES: 'api' } })
  const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await app.redis.info('commandstats'))?.[1] ?? 0)
  await pause(200)
  const before = await calls()
  const answers = await Promise.all(Array.from({ length: 200 }, () => get(app, '/readyz')))
  t.ok(answers.every(({ statusCode }) => statusCode === 200))
  t.ok((await calls()) - before <= 20, `${(await calls()) - before} probes`)
})
