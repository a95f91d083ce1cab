/** A Redis that a test may spoil, where the gateway is a user with the given rights, and the test is not. */
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { type RedisOptions, startRedis } from '../tools/redis.ts'

/** The least that docs/operations.md names. */
export const LEAST_RIGHTS = '~wxgate:* +@all -@dangerous +info'

/** `env` is for the gateway, whose user is `app`. */
export async function startWithUser(t: Test, rules: string, options: RedisOptions = {}) {
  const server = await startRedis({ ...options, tcp: true })
  t.teardown(() => server.stop())
  const admin = new Redis(server.url)
  t.teardown(() => admin.disconnect())
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', ...rules.split(' '))
  const url = server.url.replace('//', '//app:secret@')
  return { server, admin, env: { REDIS_URL: url, REDIS_PREFIX: 'wxgate' } }
}
