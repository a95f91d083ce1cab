/** A connection that is silent is closed; one whose answers could not be read for a while is not. */
import t from 'tap'
import { connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { startRedisWay } from '../../redis-way.ts'
import { standStill } from '../../stand-still.ts'

const server = await startRedis({})
t.teardown(() => server.stop())

t.test('a process that stood still reads the answers that came meanwhile', async (t) => {
  const redis = connectPrompt(server.url, () => undefined)
  t.teardown(() => redis.disconnect())
  await settled(redis, 5000)
  for (const ms of [900, 2500]) {
    const answers = [redis.ping(), redis.set('a', '1'), redis.get('a')]
    setImmediate(() => setImmediate(() => standStill(ms)))
    t.same(await Promise.all(answers), ['PONG', 'OK', '1'], `${ms} ms`)
  }
})

t.test('a silent connection fails what waits for it in less than a second, and is made anew', async (t) => {
  const way = await startRedisWay(t, server)
  const errors: string[] = []
  const redis = connectPrompt(way.url, ({ message }) => errors.push(message))
  t.teardown(() => redis.disconnect())
  await settled(redis, 5000)
  t.equal(await redis.ping(), 'PONG')
  const made = way.made()
  way.silence()
  const at = performance.now()
  await t.rejects(redis.ping(), /max retries/)
  const failedMs = performance.now() - at
  t.ok(failedMs > 500, `no sooner than what is slow may take: ${failedMs} ms`)
  t.match(errors.at(-1), /^Socket timeout/)
  await settled(redis, 5000)
  t.equal(await redis.ping(), 'PONG')
  t.ok(way.made() > made)
})
