// What of the source the last test run covered, held against the floors; also by itself: `node tools/coverage.ts`.
// tap would ask for 100 % of those files that some test imports; a file that no test imports it would not even count.
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { spawnBound } from './child.ts'

/** Per cent that must be covered, over all of the product. Only ever raise them. */
const FLOORS = { statements: 98, branches: 95 }

/** The product. tools/ and bench/ run on developers' machines only. */
const SOURCES = ['*.ts', 'lib/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts', 'sandbox/**/*.ts']

/** c8 is tap's own coverage engine: it reads what tap wrote, shows the table, and fails below the floors. */
const ARGUMENTS = [
  ['report', '--temp-directory', '.tap/coverage', '--reports-dir', '.tap/report', '--reporter', 'text', '--skip-full'],
  ['--all', ...SOURCES.flatMap((pattern) => ['--include', pattern])],
  ['--exclude', 'test/**'],
  ['--check-coverage', '--lines', '0', '--functions', '0'],
  Object.entries(FLOORS).flatMap(([kind, percent]) => [`--${kind}`, String(percent)])
].flat()

process.chdir(join(import.meta.dirname, '..'))
const exclusions = typesOnly().flatMap((file) => ['--exclude', file])
const c8 = spawnBound('node_modules/.bin/c8', [...ARGUMENTS, ...exclusions], { stdio: 'inherit' })
c8.ref()
const [status] = await once(c8, 'exit')
process.exitCode = status ?? 1

/** Files of which nothing is left to run once the types are stripped: no test can cover them, nor need it. */
function typesOnly(): string[] {
  return globSync(SOURCES).filter((file) => {
    const code = stripTypeScriptTypes(readFileSync(file, 'utf8'))
    return code.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').trim() === ''
  })
}
