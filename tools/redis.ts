// A private Redis on a Unix socket, for dev, tour, bench and tests: always a real one, never the machine's own.
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endChild, hasEnded, onExit, spawnBound } from './child.ts'
import { freePort } from './free-port.ts'
import { need } from './need.ts'

/** sockaddr_un holds 108 bytes on Linux, 104 on macOS, the closing zero included. */
const SOCKET_PATH_LIMIT = 103
const READY_MS = 10_000

export interface RedisOptions {
  /** Where it keeps its data; kept after stop(). Default: a temporary folder, removed by stop(). */
  dir?: string
  /** Append-only file on: data lives through restart() and, with `dir`, through the next start. */
  persist?: boolean
  /** Also listen on a free port of 127.0.0.1; `url` is then `redis://127.0.0.1:port`. */
  tcp?: boolean
  /** More of redis-server's own arguments, such as `['--maxmemory', '8mb']`. */
  args?: string[]
}

export interface PrivateRedis {
  /** For `REDIS_URL`: `unix:/path`, or `redis://127.0.0.1:port` with `tcp`. */
  readonly url: string
  readonly socket: string
  /** Another one after restart(). */
  readonly pid: number
  /** Ends it in order and removes what is temporary. */
  stop(): Promise<void>
  /** SIGKILL, as a crash would: restart() brings it back. */
  kill(): void
  /** SIGSTOP: connections stay open, answers do not come. */
  pause(): void
  /** SIGCONT. */
  resume(): void
  /** Ends it (if it runs) and starts it at the same address; without `persist` its data is gone. */
  restart(): Promise<void>
}

/** Starts a private redis-server and waits until it answers PING. If it does not, throws with Redis' last log lines. */
export async function startRedis(options: RedisOptions = {}): Promise<PrivateRedis> {
  const binary = need('redis-server')
  const home = socketFolder()
  const socket = join(home, 'redis.sock')
  const log = join(home, 'redis.log')
  const port = options.tcp ? await freePort() : 0
  const args = redisArguments(options, { home, socket, log, port })
  const remove = () => rmSync(home, { recursive: true, force: true })
  const forget = onExit(remove)

  const start = async (): Promise<ChildProcess> => {
    const child = spawnBound(binary, args, { stdio: 'ignore' })
    await answersPing(child, socket, log)
    return child
  }
  let child = await start()
  // A Redis in order takes 100 ms to end; where nothing is to be kept, that would only cost tests their time.
  const farewell = options.persist ? 'SIGTERM' : 'SIGKILL'

  return {
    url: port > 0 ? `redis://127.0.0.1:${port}` : `unix:${socket}`,
    socket,
    get pid() {
      return child.pid ?? 0
    },
    async stop() {
      await endChild(child, farewell)
      forget()
      remove()
    },
    kill: () => void child.kill('SIGKILL'),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async restart() {
      await endChild(child, farewell)
      child = await start()
    }
  }
}

/** macOS gives every user a long temporary path; the socket must fit, so /tmp stands in. */
function socketFolder(): string {
  const fits = Buffer.byteLength(join(tmpdir(), 'wxgate-XXXXXX', 'redis.sock')) <= SOCKET_PATH_LIMIT
  return mkdtempSync(join(fits ? tmpdir() : '/tmp', 'wxgate-'))
}

interface Places {
  home: string
  socket: string
  log: string
  port: number
}

function redisArguments(
  { dir, persist = false, args = [] }: RedisOptions,
  { home, socket, log, port }: Places
): string[] {
  const data = resolve(dir ?? home)
  mkdirSync(data, { recursive: true })
  return [
    ['--bind', '127.0.0.1', '--port', String(port)],
    ['--unixsocket', socket, '--unixsocketperm', '700'],
    ['--dir', data, '--logfile', log, '--daemonize', 'no'],
    ['--save', '', '--appendonly', persist ? 'yes' : 'no'],
    args
  ].flat()
}

async function answersPing(child: ChildProcess, socket: string, log: string): Promise<void> {
  const deadline = Date.now() + READY_MS
  while (!hasEnded(child) && Date.now() < deadline) {
    if (await ping(socket)) return
    await sleep(5)
  }
  await endChild(child, 'SIGKILL')
  throw new Error(`redis-server did not start:\n${lastLines(log)}`)
}

/** True when Redis answers +PONG; false when nobody listens yet or it is still loading its data. */
function ping(path: string): Promise<boolean> {
  return new Promise((done) => {
    const connection = createConnection({ path }, () => connection.write('PING\r\n'))
    connection.setTimeout(1000, () => connection.destroy())
    connection.once('data', (answer) => {
      done(answer.toString().startsWith('+PONG'))
      connection.destroy()
    })
    connection.once('error', () => done(false))
    connection.once('close', () => done(false))
  })
}

function lastLines(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-10).join('\n')
  } catch {
    return '(it left no log)'
  }
}
