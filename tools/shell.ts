// How tools run the commands of the machine: found as a shell would find them, as root where that needs no password.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Absolute path of the executable `name`. */
export function onPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Runs `words` in the folder `cwd` and shows their output on stderr, since stdout is for results, or not at all. */
export function succeeds(words: string[], { quiet = false, cwd = '.' } = {}): boolean {
  const [command = '', ...args] = words
  const shown = quiet ? 'ignore' : 2
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(command, args, { cwd, env, stdio: ['ignore', shown, shown] }).status === 0
}

/** Says that it runs `words` as root and does so; false without a word where becoming root would ask for a password. */
export function succeedsAsRoot(words: string[]): boolean {
  const isRoot = process.getuid?.() === 0
  if (!isRoot && !succeeds(['sudo', '-n', 'true'], { quiet: true })) return false
  const all = isRoot ? words : ['sudo', '-n', ...words]
  console.error(`Running: ${all.join(' ')}`)
  return succeeds(all)
}
