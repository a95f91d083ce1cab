/** What Redis says about itself: a real one, and the INFO texts of others. */
import t, { type Test } from 'tap'
import { connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { readServerFacts, type ServerFacts, unfit } from '../../../lib/redis/server-facts.ts'
import { type RedisOptions, startRedis } from '../../../tools/redis.ts'

async function factsOf(t: Test, options: RedisOptions, user?: string): Promise<ServerFacts> {
  const server = await startRedis(options)
  t.teardown(() => server.stop())
  const redis = connectPrompt(server.url, () => undefined)
  t.teardown(() => redis.disconnect())
  await settled(redis, 1000)
  if (user !== undefined) {
    await redis.call('ACL', 'SETUSER', 'app', 'on', '>secret', ...user.split(' '))
    await redis.auth('app', 'secret')
  }
  return readServerFacts(redis)
}

t.test('readServerFacts() tells version, topology, persistence and eviction', async (t) => {
  const nothingKept = { product: 'Redis', version: /^\d+\.\d+\.\d+$/, topology: 'single', replicas: 0 }
  t.match(await factsOf(t, {}), { ...nothingKept, persistence: 'none', evictionPolicy: 'noeviction' })
  const table: [what: string, options: RedisOptions, facts: object, user?: string][] = [
    ['append-only file', { persist: true, args: ['--appendfsync', 'always'] }, { persistence: 'appendfsync always' }],
    ['snapshots', { args: ['--save', '60', '1'] }, { persistence: 'snapshots' }],
    ['eviction', { args: ['--maxmemory-policy', 'allkeys-lru'] }, { evictionPolicy: 'allkeys-lru' }],
    ['replica', { args: ['--replicaof', '127.0.0.1', '1'] }, { topology: 'replica' }],
    ['cluster', { tcp: true, args: ['--cluster-enabled', 'yes'] }, { topology: 'cluster' }],
    ['no CONFIG', { persist: true }, { persistence: 'append-only file' }, '~* +@all -config'],
    ['no CONFIG, no file', {}, { persistence: 'no append-only file' }, '~* +@all -config'],
    ['no INFO', {}, { version: undefined, topology: undefined, persistence: undefined }, '~* +@all -@dangerous']
  ]
  for (const [what, options, facts, user] of table) t.match(await factsOf(t, options, user), facts, what)
})

t.test('readServerFacts() knows those that are like Redis by their own names', async (t) => {
  const told = (info: string) =>
    readServerFacts({ call: async () => info, config: async () => Promise.reject(new Error('NOPERM')) })
  const valkey =
    'server_name:valkey\r\nvalkey_version:8.0.1\r\nredis_version:7.2.4\r\nrole:master\r\nconnected_slaves:2'
  t.match(await told(valkey), { product: 'Valkey', version: '8.0.1', redisVersion: '7.2.4', replicas: 2 })
  t.match(await told(valkey), { topology: 'primary' })
  t.match(await told('# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.2'), { product: 'Dragonfly' })
  t.match(await told('redis_version:6.2.6\r\nredis_mode:sentinel'), { version: '6.2.6', topology: 'sentinel' })
})

t.test('unfit() refuses only what is known to be older', async (t) => {
  const causeOf = async (version: string) => {
    const call = async () => `redis_version:${version}\r\nredis_mode:standalone`
    return unfit(await readServerFacts({ call, config: async () => [] }))?.cause
  }
  for (const older of ['6.2.21', '6', '5.0.14', '0.1', '2.8.19']) t.equal(await causeOf(older), 'VERSION', older)
  for (const other of ['7.0.0', '8.2.1', '10.0.0', '255.255.255', 'unstable', '', 'v6', '?', '-'])
    t.equal(await causeOf(other), undefined, other)
})
