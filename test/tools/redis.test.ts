// The private Redis of all other tests has to do what they rely on.
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startRedis } from '../../tools/redis.ts'

/** Sends one inline command to the socket at `path` and returns the first bytes of the answer. */
async function ask(path: string, command: string): Promise<string> {
  const connection = createConnection({ path })
  const answer = await answerOf(connection, command)
  connection.destroy()
  return answer
}

async function answerOf(connection: Socket, command: string): Promise<string> {
  connection.write(`${command}\r\n`)
  const [data] = await once(connection, 'data')
  return String(data).trim()
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

t.test('startRedis() gives a Redis at a short unix: address, and stop() leaves nothing', async (t) => {
  const redis = await startRedis()
  t.equal(redis.url, `unix:${redis.socket}`)
  t.ok(Buffer.byteLength(redis.socket) <= 103)
  t.equal(await ask(redis.socket, 'PING'), '+PONG')
  t.match(await ask(redis.socket, 'CONFIG GET appendonly'), /no$/)
  t.match(await ask(redis.socket, 'CONFIG GET save'), /\$0$/)
  t.match(await ask(redis.socket, 'CONFIG GET port'), /\r\n0$/, 'reachable by its socket alone')

  await redis.stop()
  t.notOk(isAlive(redis.pid))
  t.notOk(existsSync(redis.socket))
  await redis.stop()
})

t.test('pause() withholds answers, resume() gives them', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const connection = createConnection({ path: redis.socket })
  t.equal(await answerOf(connection, 'PING'), '+PONG')
  redis.pause()
  let answered = false
  const answer = answerOf(connection, 'PING').then((line) => {
    answered = true
    return line
  })
  await new Promise((done) => setTimeout(done, 100))
  t.notOk(answered)
  redis.resume()
  t.equal(await answer, '+PONG')
  connection.destroy()
})

t.test('restart() keeps the address, also after kill(); the data is gone without persist', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { url, pid } = redis
  await ask(redis.socket, 'SET key value')
  await redis.restart()
  t.not(redis.pid, pid)
  t.equal(redis.url, url)
  t.equal(await ask(redis.socket, 'GET key'), '$-1')

  redis.kill()
  await redis.restart()
  t.equal(await ask(redis.socket, 'PING'), '+PONG')
})

t.test('persist keeps the data in dir, from one start to the next', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wxgate-test-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const first = await startRedis({ dir, persist: true })
  await ask(first.socket, 'SET key value')
  await first.restart()
  t.match(await ask(first.socket, 'GET key'), /value/)
  await first.stop()
  t.ok(readdirSync(dir).length > 0)

  const second = await startRedis({ dir, persist: true })
  t.teardown(() => second.stop())
  t.match(await ask(second.socket, 'GET key'), /value/)
})

t.test('tcp gives a redis:// address on 127.0.0.1', async (t) => {
  const redis = await startRedis({ tcp: true, args: ['--maxmemory', '8mb'] })
  t.teardown(() => redis.stop())
  const { hostname, port } = new URL(redis.url)
  t.equal(hostname, '127.0.0.1')
  const connection = createConnection({ host: hostname, port: Number(port) })
  t.match(await answerOf(connection, 'CONFIG GET maxmemory'), /8388608/)
  connection.destroy()
})

t.test('startRedis() throws with what Redis said', async (t) => {
  await t.rejects(startRedis({ args: ['--maxmemory', 'plenty'] }), /redis-server did not start/)
})
