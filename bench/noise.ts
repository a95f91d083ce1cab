/** How much of the server's core somebody else had: other programs, and on a virtual machine its neighbours. */
import { readFileSync } from 'node:fs'

export interface Noise {
  /** Parts of 1, of the time since `listen` was called. */
  othersShare: number
  stolenShare: number
}

/** Counts of one core since the machine started, in the clock's ticks. */
interface Ticks {
  all: number
  busy: number
  stolen: number
}

const MICROSECONDS_PER_TICK = 10_000

/**
 * Returns a function. It reports the noise of the machine since now, given our own CPU time, or undefined if there is
 * no /proc/stat.
 */
export function listen(core: number | undefined): (ownMicroseconds: number) => Noise | undefined {
  const before = readTicks(core)
  return (ownMicroseconds) => {
    const after = readTicks(core)
    if (before === undefined || after === undefined) return undefined
    const all = after.all - before.all
    const others = after.busy - before.busy - ownMicroseconds / MICROSECONDS_PER_TICK
    return { othersShare: Math.max(others / all, 0), stolenShare: (after.stolen - before.stolen) / all }
  }
}

function readTicks(core: number | undefined): Ticks | undefined {
  if (core === undefined || process.platform !== 'linux') return undefined
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))?.[1]
  if (line === undefined) return undefined
  const [user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, softirq = 0, stolen = 0] = line
    .split(' ')
    .map(Number)
  const busy = user + nice + system + irq + softirq
  return { all: busy + idle + waiting + stolen, busy, stolen }
}
