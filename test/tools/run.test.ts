// What stands between a developer's command and its result: the launcher, and the reading of tap's output.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { failures, readOutput, totals } from '../../tools/tap-output.ts'

const RUN = join(import.meta.dirname, '../../tools/run.mjs')

t.test('run.mjs', async (t) => {
  const folder = t.testdir({
    'tell.ts': `import { execFileSync } from 'node:child_process'
      const found: string = execFileSync('/usr/bin/env', ['node', '-p', 'process.execPath'], { encoding: 'utf8' })
      const { argv, env } = process
      console.log(JSON.stringify({ args: argv.slice(2), found: found.trim(), options: env.NODE_OPTIONS }))
      process.exitCode = 3`,
    'wait.ts': `process.on('SIGTERM', () => process.exit(7))
      setInterval(() => {}, 1000)
      console.log('waiting')`,
    'die.ts': `process.kill(process.pid, 'SIGKILL')`
  })
  const run = (script: string, args: string[] = [], env = {}) =>
    spawnSync(process.execPath, [RUN, join(folder, script), ...args], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', ...env }
    })

  t.test('passes arguments, environment and status on, and puts its own Node.js first on PATH', async (t) => {
    const { status, stdout } = run('tell.ts', ['a b', '--c'], { NODE_OPTIONS: '--no-deprecation' })
    t.equal(status, 3)
    const { args, found, options } = JSON.parse(stdout)
    t.same(args, ['a b', '--c'])
    t.match(options, /--no-deprecation/)
    t.equal(realpathSync(found), realpathSync(process.execPath))
  })

  t.test('forwards SIGTERM and exits as the script does', async (t) => {
    const child = spawn(process.execPath, [RUN, join(folder, 'wait.ts')], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    const [status] = await once(child, 'exit')
    t.equal(status, 7)
  })

  t.test('tells a death by signal as a shell does', async (t) => {
    t.equal(run('die.ts').status, 128 + 9)
  })
})

t.test('failures() lists what failed, with its explanation, and files that failed without any', async (t) => {
  const tap = `TAP version 14
# Subtest: test/crashed.test.ts
    1..0 # no tests found
not ok 1 - test/crashed.test.ts # time=5ms
  ---
  exitCode: 1
  ...

# Subtest: test/wrong.test.ts
    # Subtest: a group
        ok 1 - fine
        not ok 2 - sums
          ---
          diff: |
            -2
            +1
          ...
        1..2
    not ok 1 - a group # time=3ms
      ---
      at: somewhere
      ...
    1..1
not ok 2 - test/wrong.test.ts # time=4ms
  ---
  exitCode: 1
  ...
# { total: 3, pass: 1, fail: 2 }
`
  t.same(failures(tap), [
    '\nnot ok 1 - test/crashed.test.ts # time=5ms\n  exitCode: 1',
    'test/wrong.test.ts > a group\nnot ok 2 - sums\n  diff: |\n    -2\n    +1'
  ])
  t.equal(totals(tap), '# { total: 3, pass: 1, fail: 2 }')
  t.equal(totals(readOutput('/no/such/file')), undefined)
})
