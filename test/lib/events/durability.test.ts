/**
 * EVENT_DURABILITY=fsync: no success before the event is on disk, and no start with a Redis that cannot guarantee this.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { settled } from '../../../lib/redis/connect.ts'
import { SettingsError } from '../../../lib/settings/issues.ts'
import { type PrivateRedis, type RedisOptions, startRedis } from '../../../tools/redis.ts'
import { build, sharedRedis } from '../../helper.ts'
import { closeTogether, listenRaw } from '../../listen.ts'
import { answers, eventsIn, NO_WORKER, notify, payment, signed } from '../../routes/wechat/notices.ts'
import { standStill } from '../../stand-still.ts'

const FSYNC = { ...NO_WORKER, EVENT_DURABILITY: 'fsync' }
const ALWAYS = { persist: true, args: ['--appendfsync', 'always'] }
const EVERY_SECOND = { persist: true, args: ['--appendfsync', 'everysec'] }

async function start(t: Test, options: RedisOptions): Promise<PrivateRedis> {
  const redis = await startRedis(options)
  t.teardown(() => redis.stop())
  return redis
}

/** Whether the redis-server of this machine knows WAITAOF. */
async function knowsWaitaof(t: Test): Promise<boolean> {
  const { app } = await build(t)
  const answer = await app.redis.call('COMMAND', 'INFO', 'waitaof')
  return Array.isArray(answer) && Array.isArray(answer[0])
}

t.test('a start is refused where Redis cannot promise its disk, and says what to set', async (t) => {
  const wrong: [RedisOptions, RegExp][] = [
    [{}, /^EVENT_DURABILITY is fsync, but Redis keeps nothing on disk: set appendonly yes and appendfsync always/],
    [
      { persist: true, args: ['--appendfsync', 'no'] },
      /^EVENT_DURABILITY is fsync, but Redis leaves .* appendfsync always/
    ]
  ]
  for (const [options, message] of wrong)
    await t.rejects(build(t, { env: FSYNC, redis: await start(t, options) }), { name: 'SettingsError', message })
})

t.test('npm start says so in one line and ends with 1', async (t) => {
  const { env } = await build(t)
  const child = spawn(process.execPath, ['server.ts'], {
    cwd: `${import.meta.dirname}/../../..`,
    env: { PATH: process.env.PATH, ...env, EVENT_DURABILITY: 'fsync', REDIS_URL: (await sharedRedis()).url }
  })
  t.teardown(() => child.kill('SIGKILL'))
  const complaint = text(child.stderr)
  const [status] = await once(child, 'exit')
  t.equal(status, 1)
  t.match(await complaint, /^wxgate cannot start:\nEVENT_DURABILITY is fsync, but Redis keeps nothing on disk/)
})

t.test('with appendfsync always a success outlives a crash of Redis', async (t) => {
  const redis = await start(t, ALWAYS)
  const { app, secrets } = await build(t, { env: FSYNC, redis })
  const bodies = Array.from({ length: 20 }, () => signed(payment(), secrets.apiV2Key))
  for (const answer of await Promise.all(bodies.map((body) => notify(app, body)))) answers(t, answer, 200)
  redis.kill()
  await once(app.redis, 'close')
  await redis.restart()
  await settled(app.redis, 5000)
  t.equal((await eventsIn(app)).length, bodies.length)
  for (const body of bodies) answers(t, await notify(app, body), 200)
  t.equal((await eventsIn(app)).length, bodies.length)
})

t.test('a Redis that comes back without the promise gets no success, until it is set right', async (t) => {
  const redis = await start(t, ALWAYS)
  const { app, secrets, logs } = await build(t, { env: FSYNC, redis })
  const body = signed(payment(), secrets.apiV2Key)
  await app.redis.config('SET', 'appendfsync', 'no')
  app.redis.disconnect(true)
  await once(app.redis, 'ready')
  for (let time = 0; time < 2; time += 1) answers(t, await notify(app, body), 503)
  t.match(logs(), /"level":50,[^\n]*appendfsync always[^\n]*events are not recorded/)
  t.equal((await eventsIn(app)).length, 1, 'it is recorded all the same, and delivered')
  await app.redis.config('SET', 'appendfsync', 'always')
  answers(t, await notify(app, body), 200)
  t.equal((await eventsIn(app)).length, 1)
})

t.test('a Redis that is away at the start is asked when it comes', async (t) => {
  for (const [options, status] of [
    [ALWAYS, 200],
    [{}, 503]
  ] as const) {
    const redis = await start(t, options)
    redis.kill()
    const { app, secrets, logs } = await build(t, { env: FSYNC, redis })
    const body = signed(payment(), secrets.apiV2Key)
    answers(t, await notify(app, body), 503)
    await redis.restart()
    await settled(app.redis, 5000)
    answers(t, await notify(app, body), status)
    t.equal(/keeps nothing on disk[^\n]*events are not recorded/.test(logs()), status === 503)
  }
})

t.test('a connection that breaks between the write and its confirmation is no success', async (t) => {
  const redis = await start(t, ALWAYS)
  const { app, secrets } = await build(t, { env: FSYNC, redis })
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 200)
  const evalsha = app.redis.evalsha.bind(app.redis) as (...args: unknown[]) => Promise<unknown>
  let broken = false
  app.redis.evalsha = (async (...args: unknown[]) => {
    const answer = await evalsha(...args)
    if (!broken && args.some((arg) => String(arg).includes(':webhook:de:'))) {
      broken = true
      app.redis.disconnect(true)
      await once(app.redis, 'ready')
    }
    return answer
  }) as typeof app.redis.evalsha
  const body = signed(payment(), secrets.apiV2Key)
  answers(t, await notify(app, body), 503)
  answers(t, await notify(app, body), 200)
  t.equal((await eventsIn(app)).length, 2)
})

t.test('appendfsync everysec is taken where Redis says when it has written, else refused', async (t) => {
  const redis = await start(t, EVERY_SECOND)
  const known = await knowsWaitaof(t)
  const started = await build(t, { env: FSYNC, redis }).catch((error: unknown) => error)
  t.equal(started instanceof SettingsError, !known)
  t.match(started, known ? { app: {} } : { message: /WAITAOF, from 7\.2 on/ })
})

t.test('always counts for less while no-appendfsync-on-rewrite is yes', async (t) => {
  const redis = await start(t, {
    persist: true,
    args: ['--appendfsync', 'always', '--no-appendfsync-on-rewrite', 'yes']
  })
  const known = await knowsWaitaof(t)
  const started = await build(t, { env: FSYNC, redis }).catch((error: unknown) => error)
  t.equal(started instanceof SettingsError, !known)
})

const WAITAOF = /\*4\r\n\$7\r\nWAITAOF\r\n(?:\$\d+\r\n\d+\r\n){3}/g
const MARK = 'asked-for-the-disk'
const ECHO = `*2\r\n$4\r\nECHO\r\n$${MARK.length}\r\n${MARK}\r\n`
const ECHOED = `$${MARK.length}\r\n${MARK}\r\n`

/**
 * The real Redis behind a proxy that knows WAITAOF, which an old Redis does not. The proxy sends an ECHO instead, and
 * replaces the answer with that of `answer`, in the right order among the others. This tests how a confirmation
 * travels, not what a disk does.
 */
async function knowingWaitaof(t: Test, { socket: path }: PrivateRedis, answer: (nth: number) => string, lateMs = 0) {
  let asked = 0
  const next = () => {
    asked += 1
    return answer(asked)
  }
  const { port } = await listenRaw(t, (client) => {
    const upstream = connect({ path })
    client.on('data', (chunk) => upstream.write(chunk.toString('latin1').replace(WAITAOF, ECHO), 'latin1'))
    upstream.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      const pass = () =>
        client.write(
          text.replaceAll(ECHOED, () => next()),
          'latin1'
        )
      if (lateMs > 0 && text.includes(ECHOED)) setTimeout(pass, lateMs)
      else pass()
    })
    closeTogether(client, upstream)
  })
  return { url: `redis://127.0.0.1:${port}`, asked: () => asked }
}

const WRITTEN = '*2\r\n:1\r\n:0\r\n'
const NOT_WRITTEN = '*2\r\n:0\r\n:0\r\n'

t.test('WAITAOF: a success waits for the answer, and many at once share few', async (t) => {
  const redis = await start(t, EVERY_SECOND)
  const { url, asked } = await knowingWaitaof(t, redis, () => WRITTEN)
  const { app, secrets } = await build(t, { env: { ...FSYNC, REDIS_URL: url }, redis })
  t.equal(asked(), 1, 'whether it can be asked')
  const first = signed(payment(), secrets.apiV2Key)
  answers(t, await notify(app, first), 200)
  t.equal(asked(), 2)
  answers(t, await notify(app, first), 200)
  t.equal(asked(), 3, 'for a duplicate too, since what it repeats may not have been written')
  const bodies = Array.from({ length: 50 }, () => signed(payment(), secrets.apiV2Key))
  for (const answer of await Promise.all(bodies.map((body) => notify(app, body)))) answers(t, answer, 200)
  t.ok(asked() < 30, `${asked()} for 50 at once`)
  t.equal((await eventsIn(app)).length, 51)
})

t.test('WAITAOF: no success where the disk did not have it in time, or cannot be asked any more', async (t) => {
  const redis = await start(t, EVERY_SECOND)
  const replies = [WRITTEN, NOT_WRITTEN, '-ERR WAITAOF cannot be used when appendonly is disabled\r\n', WRITTEN]
  const { url } = await knowingWaitaof(t, redis, (nth) => replies[nth - 1] ?? WRITTEN)
  const { app, secrets } = await build(t, { env: { ...FSYNC, REDIS_URL: url }, redis })
  const body = signed(payment(), secrets.apiV2Key)
  for (const status of [503, 503, 200, 200]) answers(t, await notify(app, body), status)
  t.equal((await eventsIn(app)).length, 1)
})

t.test('WAITAOF: a Redis that does not answer costs two seconds, and no more', async (t) => {
  const redis = await start(t, EVERY_SECOND)
  const { url } = await knowingWaitaof(t, redis, (nth) => (nth === 2 ? '' : WRITTEN))
  const { app, secrets } = await build(t, { env: { ...FSYNC, REDIS_URL: url }, redis })
  const body = signed(payment(), secrets.apiV2Key)
  const answer = await notify(app, body)
  answers(t, answer, 503)
  t.equal(answer.headers['retry-after'], '1')
})

t.test('WAITAOF: a disk may take more time than any other answer', async (t) => {
  const redis = await start(t, EVERY_SECOND)
  const { url } = await knowingWaitaof(t, redis, () => WRITTEN, 1200)
  const { app, secrets } = await build(t, { env: { ...FSYNC, REDIS_URL: url }, redis })
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 200)
})

t.test('WAITAOF: a process that stood still reads the answer that came meanwhile', async (t) => {
  const redis = await start(t, EVERY_SECOND)
  const { url } = await knowingWaitaof(t, redis, (nth) => {
    if (nth === 2) standStill(3000)
    return WRITTEN
  })
  const { app, secrets } = await build(t, { env: { ...FSYNC, REDIS_URL: url }, redis })
  answers(t, await notify(app, signed(payment(), secrets.apiV2Key)), 200)
})
