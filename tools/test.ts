// `npm test`: everything that CI checks. All of it runs even when a part fails, so that one run shows all there is to
// mend. Arguments go to tap: `npm test -- test/tools/redis.test.ts` runs that file, and does not judge the coverage.
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { spawnBound } from './child.ts'
import { need } from './need.ts'
import { failures, readOutput, totals } from './tap-output.ts'

const ROOT = join(import.meta.dirname, '..')
const TAP_OUTPUT = join(ROOT, '.tap/output.tap')

/** tap's own rule (100 % of the imported files) is off, since coverage.ts judges all files; so is its table. */
const TAP_ARGUMENTS = [
  ['--statements=0', '--branches=0', '--functions=0', '--lines=0', '--allow-empty-coverage', '--coverage-report=none'],
  ['--reporter=base', `--output-file=${TAP_OUTPUT}`]
].flat()

/** The flag is for node:module's stripTypeScriptTypes(), which calls itself experimental. */
const COVERAGE = ['--disable-warning=ExperimentalWarning', join(ROOT, 'tools/coverage.ts')]

interface Part {
  name: string
  state: 'ok' | 'FAILED' | 'skipped'
  ms: number
}
const parts: Part[] = []

process.chdir(ROOT)
rmSync(TAP_OUTPUT, { force: true })
const chosen = process.argv.slice(2)

const ready = await measure('programs', async () =>
  (['redis-server', 'caddy', 'nginx'] as const).every((program) => need(program))
)
await measure('lint', () => runs(npmBin('biome'), ['check']))
await measure('types', () => runs(npmBin('tsc'), []))
const passed = await measure('tests', () => runTap(chosen), ready)
await measure('coverage', () => runs(process.execPath, COVERAGE), passed && chosen.length === 0)
summarize()

/**
 * Runs one part, unless it makes no sense any more, and notes how it went. True when it was run and held; never throws.
 */
async function measure(name: string, run: () => Promise<boolean>, sensible = true): Promise<boolean> {
  if (sensible) console.log(`\n== ${name}`)
  const started = performance.now()
  const ok = sensible && (await run().catch(showError))
  parts.push({ name, state: ok ? 'ok' : sensible ? 'FAILED' : 'skipped', ms: performance.now() - started })
  return ok
}

function showError(error: Error): false {
  console.error(error.message)
  return false
}

function npmBin(program: string): string {
  return join(ROOT, 'node_modules/.bin', program)
}

/** Runs `command`, its output going where ours goes; true when it exits with 0. */
async function runs(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<boolean> {
  const child = spawnBound(command, args, { stdio: 'inherit', env: { ...process.env, ...env } })
  child.ref()
  const [status] = await once(child, 'exit')
  return status === 0
}

async function runTap(args: string[]): Promise<boolean> {
  // Without a terminal tap's reporter repaints its frame all the same, but for CI: there it prints a line for each
  // file.
  if (process.stdout.isTTY) return runs(npmBin('tap'), [...TAP_ARGUMENTS, ...args])
  const ok = await runs(npmBin('tap'), [...TAP_ARGUMENTS, ...args], { CI: 'true' })
  for (const failure of failures(readOutput(TAP_OUTPUT))) console.log(`\n${failure}`)
  return ok
}

/** Ends with tap's totals on a line of their own, which .ci/run reads. */
function summarize(): void {
  console.log('')
  for (const { name, state, ms } of parts) {
    console.log(`${name.padEnd(10)} ${state.padEnd(8)} ${(ms / 1000).toFixed(1).padStart(6)} s`)
  }
  console.log(totals(readOutput(TAP_OUTPUT)) ?? '# no tests ran')
  process.exitCode = parts.some(({ state }) => state === 'FAILED') ? 1 : 0
}
