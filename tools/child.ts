// Child processes that never outlive us: Redis and Caddy of a dev session, a test or a benchmark.
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** Of util-linux; BusyBox has one without that option. */
const DEATH_SIGNAL = ['--pdeathsig', 'KILL', '--']
let canBind: boolean | undefined

const living = new Set<ChildProcess>()
const farewells = new Set<() => void>()

process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
  for (const farewell of farewells) farewell()
})

/**
 * Runs `farewell` when this process exits, after its children were killed: to remove what a crash would leave behind.
 * Returns the undo.
 */
export function onExit(farewell: () => void): () => void {
  farewells.add(farewell)
  return () => farewells.delete(farewell)
}

/**
 * Starts `command`, which is killed when this process ends. On Linux the kernel does that, even if this process is
 * ended by SIGKILL (`setpriv --pdeathsig` becomes the command, so the pid is that of the command). Elsewhere it works
 * only if this process exits normally. The child does not keep the event loop alive: a test that forgot to stop it
 * still ends.
 */
export function spawnBound(command: string, args: string[], options: SpawnOptions): ChildProcess {
  canBind ??= spawnSync('setpriv', [...DEATH_SIGNAL, 'true']).status === 0
  const child = canBind ? spawn('setpriv', [...DEATH_SIGNAL, command, ...args], options) : spawn(command, args, options)
  living.add(child)
  child.once('exit', () => living.delete(child))
  child.once('error', () => living.delete(child))
  child.unref()
  return child
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Sends `signal` and waits for `child` to end. Sends SIGKILL after `patienceMs`. Does nothing if it has ended. */
export async function endChild(
  child: ChildProcess,
  signal: NodeJS.Signals = 'SIGTERM',
  patienceMs = 5000
): Promise<void> {
  if (hasEnded(child)) return
  child.ref()
  const ended = once(child, 'exit')
  child.kill(signal)
  child.kill('SIGCONT') // a stopped process would keep SIGTERM pending for ever
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs)
  await ended
  clearTimeout(timer)
}
