/** Commands of one turn go to Redis in one write, in their order, whatever they are. */
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { connectPrompt, settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { readsOf } from '../../redis-reads.ts'

const server = await startRedis({})
t.teardown(() => server.stop())

async function connection(test: Test) {
  const redis = connectPrompt(server.url, () => undefined)
  test.teardown(() => redis.disconnect())
  await settled(redis, 5000)
  return redis
}

t.test('text, bytes, pipelines and transactions of one turn', async (t) => {
  const redis = await connection(t)
  const bytes = Buffer.from([0, 255, 13, 10, 128])
  const before = await readsOf(redis)
  const answers = await Promise.all([
    redis.set('text', '微信'),
    redis.set('bytes', bytes),
    redis.get('text'),
    redis.pipeline().get('text').getBuffer('bytes').exec(),
    redis.getBuffer('bytes'),
    redis.multi().set('text', 'other').get('text').exec(),
    redis.get('text'),
    redis.get('bytes').then(() => 'answered')
  ])
  t.same(answers, [
    'OK',
    'OK',
    '微信',
    [
      [null, '微信'],
      [null, bytes]
    ],
    bytes,
    [
      [null, 'OK'],
      [null, 'other']
    ],
    'other',
    'answered'
  ])
  t.equal((await readsOf(redis)) - before, 2, 'one, and the question itself')
})

t.test('what a connection took before its end is answered, and the next one serves', async (t) => {
  const redis = await connection(t)
  const numbers = Array.from({ length: 20 }, (_none, index) => index + 1)
  const taken = numbers.map(() => redis.incr('count'))
  redis.disconnect(true)
  const refused = redis.incr('count')
  await t.rejects(refused, /writeable/)
  t.same(await Promise.all(taken), numbers)
  await once(redis, 'ready')
  const before = await readsOf(redis)
  t.same(await Promise.all([redis.set('count', 0), redis.incr('count'), redis.incr('count')]), ['OK', 1, 2])
  t.equal((await readsOf(redis)) - before, 2)
})
