// Brings the programs that dev and tests need and npm cannot, by the platform's package manager: redis-server, Caddy,
// nginx. Nothing is ever started or enabled as a service, and the machine's own ones are left alone.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { linkRedis, unpackCaddy, unpackNginx } from './need-debian.ts'
import { isExecutable, onPath, succeeds, succeedsAsRoot } from './shell.ts'

export type Program = 'redis-server' | 'caddy' | 'nginx'

/** Programs for this working copy alone, where Debian's packages would do more than we want. Ignored by git. */
const OWN_BIN = join(import.meta.dirname, 'bin')

const ON_DEBIAN: Record<Program, (bin: string) => string> = {
  'redis-server': linkRedis,
  caddy: unpackCaddy,
  nginx: unpackNginx
}

/** Package managers that neither start nor enable a service by installing one. Homebrew refuses to run as root. */
const MANAGERS = [
  { command: 'brew', install: ['install'], run: succeeds, typed: 'brew' },
  { command: 'dnf', install: ['install', '-y'], run: succeedsAsRoot, typed: 'sudo dnf' },
  { command: 'apk', install: ['add'], run: succeedsAsRoot, typed: 'sudo apk' }
]
const PACKAGES: Record<Program, string> = { 'redis-server': 'redis', caddy: 'caddy', nginx: 'nginx' }

/**
 * Absolute path of `program`: from PATH, else freshly installed, which it says on stderr.
 * Throws an error that holds the exact command to type where it may not or cannot install.
 */
export function need(program: Program): string {
  const found = find(program)
  if (found !== undefined) return found
  console.error(`${program} is missing on this machine.`)
  return onPath('apt-get') ? bringOnDebian(program) : bringByManager(program)
}

function find(program: Program): string | undefined {
  return onPath(program) ?? [join(OWN_BIN, program)].find(isExecutable)
}

function bringOnDebian(program: Program): string {
  mkdirSync(OWN_BIN, { recursive: true })
  return ON_DEBIAN[program](OWN_BIN)
}

function bringByManager(program: Program): string {
  const manager = MANAGERS.find(({ command }) => onPath(command))
  if (manager === undefined) throw new Error(`${program}: install it so that it is found on PATH, then try again`)

  const words = [...manager.install, PACKAGES[program]]
  const path = manager.run([manager.command, ...words]) ? onPath(program) : undefined
  if (path === undefined)
    throw new Error(`${program}: type this, then try again:\n  ${manager.typed} ${words.join(' ')}`)
  return path
}
