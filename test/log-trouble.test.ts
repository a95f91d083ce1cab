/**
 * A log that cannot be written, in every way that we know. The gateway continues to serve, and ends when it is told to.
 */
import { type ChildProcess, execFileSync, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, createReadStream, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { leastEnvironment, outcome, run, runNode, untilReady } from './gateway-process.ts'
import type { Environment } from './helper.ts'

/** More than a pipe or a socket takes from a writer whose reader sleeps: some 500 bytes a line. */
const REQUESTS = 600
const PER_ROUND = 40
/** 503: on a machine with much other work. */
const ANSWERS = new Set([200, 503])
const END_PATIENCE_MS = 30_000

interface Log {
  child: ChildProcess
  /** What keeps a start from being seen in /readyz is over; now the log breaks. */
  breakNow?(): void
}

/** Named pipe of the test: reader and writer as descriptors. It is never read unless a test does so. */
function fifo(t: Test): { reader: number; writer: number } {
  const path = join(t.testdir({}), 'log')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { reader, writer: openSync(path, constants.O_WRONLY) }
}

const withStdio = (t: Test, env: Environment, stdio: StdioOptions): ChildProcess =>
  runNode(t, ['server.ts'], env, { stdio })

const inShell = (t: Test, env: Environment, line: string): ChildProcess =>
  run(t, 'sh', ['-c', line, process.execPath], env, { stdio: 'ignore' })

const KINDS: Record<string, (t: Test, env: Environment) => Log> = {
  'npm start on a device without space': (t, env) => {
    const full = openSync('/dev/full', 'w')
    return { child: runNode(t, ['--expose-gc', 'start.js'], env, { stdio: ['ignore', full, full] }) }
  },
  'a file that may not grow': (t, env) => {
    const file = join(t.testdir({}), 'log')
    // What tap adds to Node.js writes files too.
    return { child: inShell(t, env, `unset NODE_OPTIONS; ulimit -f 2; exec "$0" server.ts >${file}`) }
  },
  'a file that was deleted': (t, env) => {
    const file = join(t.testdir({}), 'log')
    return { child: inShell(t, env, `exec "$0" server.ts >${file}`), breakNow: () => rmSync(file) }
  },
  'a descriptor that is for reading': (t, env) => {
    const readOnly = openSync('/dev/null', 'r')
    return { child: withStdio(t, env, ['ignore', readOnly, 'ignore']) }
  },
  'standard output closed': (t, env) => ({ child: inShell(t, env, 'exec "$0" server.ts >&- 2>&-') }),
  'a pipe whose reader is gone': (t, env) => {
    const { reader, writer } = fifo(t)
    return { child: withStdio(t, env, ['ignore', writer, 'ignore']), breakNow: () => closeSync(reader) }
  },
  'a pipe whose reader was gone before the start': (t, env) => {
    const { reader, writer } = fifo(t)
    closeSync(reader)
    return { child: withStdio(t, env, ['ignore', writer, writer]) }
  },
  'a pipe that nobody reads, for standard error too': (t, env) => {
    const { writer } = fifo(t)
    return { child: withStdio(t, env, ['ignore', writer, writer]) }
  },
  'a socket that nobody reads': (t, env) => ({ child: withStdio(t, env, ['ignore', 'pipe', 'pipe']) }),
  'a socket whose reader is gone': (t, env) => {
    const child = withStdio(t, env, ['ignore', 'pipe', 'pipe'])
    return { child, breakNow: () => [child.stdout, child.stderr].map((stream) => stream?.destroy()) }
  }
}

/** Calls the gateway so often that its log lines fill whatever takes them. Resolves with how many calls it answered. */
async function callOften(t: Test, port: string | undefined): Promise<number> {
  const dispatcher = new Agent({ connections: PER_ROUND, headersTimeout: END_PATIENCE_MS })
  t.teardown(() => dispatcher.close())
  const call = async (): Promise<number> => {
    const headers = { 'x-request-id': 'x'.repeat(128) }
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/api/test`, { dispatcher, headers })
    await body.dump()
    return statusCode
  }
  let answered = 0
  for (let sent = 0; sent < REQUESTS; sent += PER_ROUND) {
    const statuses = await Promise.all(Array.from({ length: PER_ROUND }, call))
    answered += statuses.filter((status) => ANSWERS.has(status)).length
  }
  return answered
}

/** Resolves with the exit code; 'killed' when it does not end in time. */
async function ended(child: ChildProcess): Promise<number | null | 'killed'> {
  const end = once(child, 'exit').then(([status]) => status as number | null)
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), END_PATIENCE_MS)
  const status = await end
  clearTimeout(timer)
  return child.signalCode === 'SIGKILL' ? 'killed' : status
}

for (const [kind, open] of Object.entries(KINDS)) {
  t.test(`the gateway serves on and ends with 0: ${kind}`, async (t) => {
    const env: Environment = { ...(await leastEnvironment()), RATE_LIMIT: '0' }
    const { child, breakNow } = open(t, env)
    t.same(await untilReady(env.PORT), { ok: 1 })
    breakNow?.()
    t.equal(await callOften(t, env.PORT), REQUESTS)
    t.equal(await ended(child), 0)
  })
}

t.test('trouble with the log is told once on standard error, and its end in the log', async (t) => {
  const env: Environment = await leastEnvironment()
  const { reader, writer } = fifo(t)
  const child = withStdio(t, env, ['ignore', writer, 'pipe'])
  closeSync(writer)
  await untilReady(env.PORT)
  closeSync(reader)
  const complaint = once(child.stderr as Readable, 'data')
  const call = () => request(`http://127.0.0.1:${env.PORT}/api/test`).then(({ body }) => body.dump())
  await call()
  t.equal(String((await complaint)[0]), 'wxgate: the log cannot be written (EPIPE); it serves on, log lines are lost\n')
  const more = outcome(child)
  await call()
  const lines = text(createReadStream(join(t.testdirName, 'log')))
  await call()
  t.equal(await ended(child), 0)
  t.equal((await more).err, '', 'nothing more')
  t.match(await lines, /"dropped":0,"cause":"EPIPE","msg":"the log is written again"/)
})
