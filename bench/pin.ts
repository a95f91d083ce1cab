/**
 * Which core runs what. The measured server has one core alone, so that other work does not show in its caches and
 * waits.
 */
import { spawnSync } from 'node:child_process'
import { onPath } from '../tools/shell.ts'

export interface Cores {
  server: number
  rest: number
}

/** undefined where nothing can be pinned: no taskset (not Linux), or one core only. */
export function chooseCores(): Cores | undefined {
  if (onPath('taskset') === undefined) return undefined
  const { status, stdout } = spawnSync('taskset', ['-pc', String(process.pid)], { encoding: 'utf8' })
  const [server, rest] = expandList(stdout.split(':').at(-1) ?? '')
  return status === 0 && server !== undefined && rest !== undefined ? { server, rest } : undefined
}

/** `0-2,7` → 0, 1, 2, 7. */
function expandList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first = Number.NaN, last = first] = part.trim().split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/** Moves this process with all its threads to `core`; children are born there. */
export function moveTo(core: number): void {
  spawnSync('taskset', ['-apc', String(core), String(process.pid)])
}

/** The words that start `words` on `core`. */
export function startedOn(core: number | undefined, words: string[]): string[] {
  return core === undefined ? words : ['taskset', '-c', String(core), ...words]
}
