/** The process itself: it starts with right settings only, serves, and stops in order. */
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { leastEnvironment, outcome, runNode, untilReady } from './gateway-process.ts'
import { head, RawConnection } from './raw-http.ts'

t.test('npm start serves, writes its log out, and ends with 0 when told to', async (t) => {
  const env = await leastEnvironment()
  const child = runNode(t, ['--expose-gc', 'start.js'], env)
  const log = child.stdout && text(child.stdout)
  t.same(await untilReady(env.PORT), { ok: 1 })
  const answer = await fetch(`http://127.0.0.1:${env.PORT}/api/test`)
  t.same(await answer.json(), { ok: 1 })
  child.kill('SIGTERM')
  const [status] = await once(child, 'exit')
  t.equal(status, 0)
  t.match(
    await log,
    /"route":"GET \/api\/test","status":200/,
    'the last line is there, though lines are held back a moment'
  )
})

t.test('requests that announce a body and have none are no reason to stay', async (t) => {
  const env = await leastEnvironment()
  const child = runNode(t, ['server.ts'], env)
  await untilReady(env.PORT)
  const bare = (door: string) => head(`${door} HTTP/1.1`, 'Host: x', 'Content-Type: application/json')
  const connections = ['POST /api/login', 'POST /nowhere', 'POST /wechat/pay/v2/1900000109/notify'].map((door) =>
    new RawConnection(Number(env.PORT)).send(bare(door))
  )
  const [login] = await Promise.all(connections.map(async ({ socket }) => String(await once(socket, 'data'))))
  t.match(login, /^HTTP\/1.1 400 /)
  child.kill('SIGTERM')
  const [[status]] = await Promise.all([once(child, 'exit'), ...connections.map((connection) => connection.answers())])
  t.equal(status, 0)
})

t.test('wrong settings stop the start: every fault by name, no value, status 1', async (t) => {
  const env = { ...(await leastEnvironment()), PORT: 'eighty', JWT_SECRET: 'much-too-short', WECHAT_SECRET: undefined }
  const { status, err } = await outcome(runNode(t, ['server.ts'], env))
  t.equal(status, 1)
  const lines = err.split('\n')
  for (const name of ['PORT', 'JWT_SECRET', 'WECHAT_SECRET'])
    t.ok(
      lines.some((line) => line.startsWith(`${name} `)),
      name
    )
  t.notMatch(err, /eighty|much-too-short/)
})

t.test('settings that this version does not serve stop the start too', async (t) => {
  const env = { ...(await leastEnvironment()), REDIS_URL: 'redis+cluster://127.0.0.1:1' }
  const { status, err } = await outcome(runNode(t, ['server.ts'], env))
  t.equal(status, 1)
  t.match(err, /^REDIS_URL names Sentinel or Cluster/m)
})
