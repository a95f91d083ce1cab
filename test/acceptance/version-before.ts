/** The version before this one, as a folder that its server can be started from. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/**
 * The version that this one has to run together with. Move it when a version is released: to the last commit that
 * operators have then, from which they will upgrade. The guarantees of docs/upgrading.md are about these two.
 */
export const VERSION_BEFORE = 'ce967baa524f2908430d71bc98161eb80967ad7c'

const ROOT = join(import.meta.dirname, '../..')

/** The reason why it is not available here, or false. */
export function isOutOfReach(): string | false {
  if (!existsSync(join(ROOT, '.git'))) return 'this folder is no git repository, so the version before is not in it'
  return spawnSync('git', ['--version']).status === 0 ? false : 'there is no git here'
}

/** Unpacks it, with its packages; gone with the test. Throws where the history was not fetched that far back. */
export function unpackVersionBefore(t: Test): string {
  const known = spawnSync('git', ['cat-file', '-e', `${VERSION_BEFORE}^{commit}`], { cwd: ROOT })
  if (known.status !== 0)
    throw new Error(`commit ${VERSION_BEFORE} is not in this clone; get it with: git fetch --unshallow`)
  const folder = mkdtempSync(join(tmpdir(), 'wxgate-before-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const archive = spawnSync('git', ['archive', VERSION_BEFORE], { cwd: ROOT, maxBuffer: 100 * 1024 * 1024 })
  const unpacked = spawnSync('tar', ['-x', '-C', folder], { input: archive.stdout })
  if (archive.status !== 0 || unpacked.status !== 0) throw new Error(`${archive.stderr}${unpacked.stderr}`)
  const [ours, its] = [ROOT, folder].map((place) => packagesOf(join(place, 'package-lock.json')))
  if (ours === its) symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  else install(folder)
  return folder
}

function install(folder: string): void {
  const options = ['--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  const { status, stderr } = spawnSync('npm', ['ci', ...options], { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`the packages of the version before: ${stderr}`)
}

/** Of a lock file, without what is said of the project itself. */
function packagesOf(lock: string): string {
  const { '': _project, ...packages } = JSON.parse(readFileSync(lock, 'utf8')).packages
  return JSON.stringify(packages)
}
