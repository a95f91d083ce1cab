/** The process itself: it starts with right settings only, serves, and stops in order. */
import { once } from 'node:events'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { leastEnvironment, outcome, runNode, untilReady } from './gateway-process.ts'
import type { Environment } from './helper.ts'
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

/** Runs in each process of a start, and notes at its end whether it needed the compiler that strips types. */
const noting = (file: string): string =>
  `--import=data:text/javascript,${encodeURIComponent(`
    import { appendFileSync } from 'node:fs'
    process.on('exit', () => {
      const strips = process.moduleLoadList.some((name) => name.includes('amaro'))
      appendFileSync(${JSON.stringify(file)}, strips ? 'stripped\\n' : 'ran\\n')
    })
  `)}`

t.test(
  'npm start strips types once, in a process of its own, and serves too where it cannot keep the result',
  async (t) => {
    const folder = t.testdir({ file: '', cache: {} })
    const start = async (more: Environment): Promise<string> => {
      const file = join(folder, 'file')
      writeFileSync(file, '')
      const env = { ...(await leastEnvironment()), ...more }
      const child = runNode(t, ['--expose-gc', noting(file), 'start.js'], env)
      await untilReady(env.PORT)
      child.kill('SIGTERM')
      await once(child, 'exit')
      return readFileSync(file, 'utf8')
    }
    const cache = join(folder, 'cache')
    const kept = { NODE_COMPILE_CACHE: cache }
    t.equal(await start(kept), 'stripped\nran\n', 'the first start')
    t.equal(await start(kept), 'ran\n', 'the next one')
    for (const note of globSync('*/wxgate-sources', { cwd: cache }))
      writeFileSync(join(cache, note), 'of other sources')
    t.equal(await start(kept), 'ran\nran\n', 'after a change of sources, of which here is none')
    t.equal(await start({ NODE_DISABLE_COMPILE_CACHE: '1' }), 'stripped\n', 'where nothing can be kept')
  }
)

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

const LOGIN = ['POST /api/login HTTP/1.1', 'Host: x', 'Content-Type: application/json']
const TEST = head('GET /api/test HTTP/1.1', 'Host: x')

/** What a connection brought before the stop, and the statuses that it gets in all. */
const UNFINISHED: Record<string, [bytes: string, statuses: number[]]> = {
  'nothing yet': ['', [408]],
  'a part of a head': ['POST /api/login HTTP/1.1\r\nHost: x\r\nA', [408]],
  'a part of a body': [`${head(...LOGIN, 'Content-Length: 100')}{`, [408]],
  'a part of a chunk': [`${head(...LOGIN, 'Transfer-Encoding: chunked')}30\r\n{`, [408]],
  'a part of a callback': [
    `${head('POST /wechat/pay/v2/1/notify HTTP/1.1', 'Host: x', 'Content-Length: 100')}<`,
    [408]
  ],
  'a part of a body that is refused already': [
    `${head('POST /no HTTP/1.1', 'Host: x', 'Content-Length: 100')}{`,
    [404]
  ],
  'a request, and a part of the next': [`${TEST}GET /api/te`, [200, 408]],
  'a request that is answered': [TEST, [200]]
}

t.test('requests that do not come whole are no reason to stay', async (t) => {
  const env = await leastEnvironment()
  const child = runNode(t, ['server.ts'], env)
  const log = child.stdout && text(child.stdout)
  await untilReady(env.PORT)
  const open = Object.entries(UNFINISHED).map(([name, [bytes, statuses]]) => {
    const connection = new RawConnection(Number(env.PORT)).send(bytes)
    // Each drips on.
    const drip = setInterval(() => bytes !== '' && bytes !== TEST && connection.send('x'), 500)
    return { name, connection, drip, statuses }
  })
  await Promise.all(
    open.filter(({ statuses }) => statuses[0] !== 408).map((one) => once(one.connection.socket, 'data'))
  )
  const end = once(child, 'exit')
  child.kill('SIGTERM')
  for (const { name, connection, drip, statuses } of open) {
    const answers = await connection.answers()
    clearInterval(drip)
    t.same(
      answers.map(({ status }) => status),
      statuses,
      name
    )
  }
  t.same(await end, [0, null])
  t.notMatch(await log, /killed by timeout/)
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
