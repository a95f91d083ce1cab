/** The destination of log lines: what it keeps, drops and reports while they cannot be written, and how it ends. */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LogOutput } from '../../../lib/log/output.ts'

const LINE = `${'x'.repeat(99)}\n`
/** More than a pipe and the output hold together. */
const TOO_MANY = 15_000

interface Pipe {
  output: LogOutput
  /** What it told: ['trouble', cause] and ['recovered', dropped, cause]. */
  told: unknown[][]
  /** Everything that can be read now. */
  read(): string
  reader: number
}

function pipe(t: Test): Pipe {
  const path = join(t.testdir({}), 'log')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  t.teardown(() => closeSync(fd))
  const told: unknown[][] = []
  const output = new LogOutput({
    fd,
    onTrouble: (cause) => told.push(['trouble', cause]),
    onRecovered: (...facts) => told.push(['recovered', ...facts])
  })
  t.teardown(() => output.end(0))
  return { output, told, read: () => readAll(reader), reader }
}

/** As latin1, since a read may end within a character. */
function readAll(fd: number): string {
  const buffer = Buffer.alloc(1024 * 1024)
  let text = ''
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer))
      text += buffer.toString('latin1', 0, read)
  } catch {
    // Nothing more is there.
  }
  return text
}

t.test('LogOutput gathers lines, and writes them out when asked', async (t) => {
  const { output, read, told } = pipe(t)
  output.write('one\n')
  t.equal(read(), '')
  output.write('two\n')
  output.flushSync()
  t.equal(read(), 'one\ntwo\n')
  for (let count = 0; count < 50; count++) output.write(LINE)
  t.equal(read(), LINE.repeat(41), 'without being asked, as soon as there is enough for a write')
  t.same(told, [])
})

t.test('LogOutput drops what a sleeping reader leaves no room for, counts it, and breaks no line', async (t) => {
  const { output, read, told } = pipe(t)
  for (let count = 0; count < TOO_MANY; count++) output.write(`${count} 字${LINE}`)
  t.same(told, [['trouble', 'EAGAIN']], 'told once')
  let text = ''
  for (let more = read(); more !== ''; more = read()) {
    text += more
    output.flushSync()
  }
  const lines = Buffer.from(text, 'latin1').toString().trimEnd().split('\n')
  lines.forEach((line, at) => {
    if (line !== `${at} 字${LINE.trimEnd()}`) t.fail(`line ${at} is ${line}`)
  })
  t.ok(lines.length > 9000, 'a megabyte is kept')
  t.same(told.slice(1), [['recovered', TOO_MANY - lines.length, 'EAGAIN']])
  output.write('again\n')
  output.flushSync()
  t.equal(read(), 'again\n')
})

t.test('LogOutput tells at once of a reader that is gone, and that one is there again', async (t) => {
  const { output, told, reader } = pipe(t)
  closeSync(reader)
  output.write('kept\n')
  output.flushSync()
  output.flushSync()
  t.same(told, [['trouble', 'EPIPE']], 'told once')
  const again = openSync(join(t.testdirName, 'log'), constants.O_RDONLY | constants.O_NONBLOCK)
  output.flushSync()
  t.equal(readAll(again), 'kept\n')
  t.same(told.slice(1), [['recovered', 0, 'EPIPE']])
})

t.test('LogOutput.end() waits for a slow reader, but not for ever, and not at all where writing fails', async (t) => {
  const { output, reader, told } = pipe(t)
  output.write(LINE.repeat(1000))
  const before = performance.now()
  output.end(200)
  const waited = performance.now() - before
  t.ok(waited >= 200 && waited < 5000, `${waited} ms`)
  closeSync(reader)
  output.end(60_000)
  t.ok(performance.now() - before < 10_000)
  t.same(told, [['trouble', 'EPIPE']])
})

t.test('LogOutput takes a line that is longer than all it keeps', async (t) => {
  const { output, read, told } = pipe(t)
  const long = 'y'.repeat(3 * 1024 * 1024)
  output.write(`${long}\n`)
  let text = ''
  for (let more = read(); more !== ''; more = read()) {
    text += more
    output.flushSync()
  }
  t.equal(text.length, long.length + 1)
  t.same(told, [])
})
