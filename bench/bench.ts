/**
 * `npm run bench`: what a request costs the gateway. The unit is the cost of the same work at the floor (floor.ts), on
 * the same machine in the same second.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { need } from '../tools/need.ts'
import type { Case, CaseName } from './cases.ts'
import { prepareContests } from './contests.ts'
import { type Contest, measure, type Plan, type Result, Runner } from './measure.ts'
import { measureMemory } from './memory.ts'
import { listen, type Noise } from './noise.ts'
import { type Options, readOptions } from './options.ts'
import { type CpuProfile, summarise } from './profile.ts'
import { measureStarts } from './ready.ts'
import type { Sessions } from './sessions.ts'
import { measureSteady } from './steady.ts'
import { putInto, writeTable } from './table.ts'
import { measureWaiting } from './waiting.ts'
import { startWorld, type World } from './world.ts'

const README = join(import.meta.dirname, 'README.md')
const MIB = 1024 * 1024
const REST_MS = 5000
const STARTS = 7
const QUICK_STARTS = 3
const WEIGHED = 100_000
const MANY = 1_000_000
const FULL: Plan = { rounds: 20, burstMs: 500, warmUpMs: 3000 }
const SHORT: Plan = { ...FULL, rounds: 10 }
const QUICK: Plan = { rounds: 6, burstMs: 250, warmUpMs: 1200 }
const PROFILED: Plan = { rounds: 10, burstMs: 1000, warmUpMs: 5000 }

// The tools end every child and remove every temporary folder when this process exits.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

const options = readOptions(process.argv.slice(2))
const world = await startWorld()
try {
  process.stdout.write(`${options.profile ? await profileOne(world, options) : await compareAll(world, options)}\n`)
  await world.stop()
  process.exit()
} catch (error) {
  await world.stop()
  const log = await world.gateway.server.lastWords
  tell(`${error instanceof Error ? error.stack : error}\n\nThe log of wxgate ended with:\n${log}`)
  process.exit(1)
}

async function compareAll(world: World, { only, quick, write }: Options): Promise<string> {
  await sleep(REST_MS)
  const restingMib = (await world.gateway.server.rssBytes()) / MIB
  tell('starting it again')
  const readyMs = await measureStarts(world, quick ? QUICK_STARTS : STARTS)
  const { known, contestOf, sessions, recorded } = await prepareContests(world)
  const contests = only.map(contestOf)
  const hear = listen(world.cores?.server)
  const cpuBefore = await cpuOfServers(world)
  const measured = await measure({ side: world.bare, subject: known.test }, contests, quick ? QUICK : FULL, tell)
  const noise = hear((await cpuOfServers(world)) - cpuBefore)
  for (const { ours, floor } of contests) {
    await ours.subject.proveDone?.()
    await floor?.subject.proveDone?.()
  }
  const sessionBytes = await weighSessions(sessions)
  const wants = (...names: CaseName[]) => !quick && names.every((name) => only.includes(name))
  const waiting = wants('notify') ? await measureWaiting(world, known, recorded, SHORT, tell) : undefined
  const steady = wants('notify', 'payV3') ? await measureSteady(world, known, recorded, tell) : undefined
  const memory = wants('session', 'notify') ? await measureMemory(world, known, recorded, tell) : undefined
  const million = wants('session') ? await measureAmongMany(world, sessions, known, contestOf('session')) : undefined
  sessions.close()
  await recorded.close()
  const cases = contests.map(({ name, ours }): [CaseName, Case] => [name, ours.subject])
  const findings = { cases, ...measured, readyMs, restingMib, memory, sessionBytes, million, waiting, steady }
  const table = writeTable({ ...findings, circumstances: circumstances(world, noise) })
  if (write) writeFileSync(README, putInto(readFileSync(README, 'utf8'), table))
  return table
}

async function weighSessions({ open, usedBytes }: Sessions): Promise<number> {
  tell(`weighing ${WEIGHED} sessions`)
  const before = await usedBytes()
  await open(WEIGHED)
  return ((await usedBytes()) - before) / WEIGHED
}

async function measureAmongMany(
  { bare }: World,
  { open }: Sessions,
  { test }: Record<CaseName, Case>,
  contest: Contest
): Promise<Result | undefined> {
  tell('filling Redis with a million sessions')
  for (let held = WEIGHED; held < MANY; held += WEIGHED) await open(WEIGHED)
  const { results } = await measure({ side: bare, subject: test }, [contest], FULL, tell)
  return results.get('session')
}

async function profileOne(world: World, { only, keep }: Options): Promise<string> {
  const { contestOf } = await prepareContests(world)
  const [name = 'test'] = only
  const { ours } = contestOf(name)
  const { server } = ours.side
  const runner = new Runner(ours)
  tell(`warming up ${name}`)
  await runner.warmUp(PROFILED.warmUpMs)
  await server.startProfile()
  const bursts = []
  for (let round = 0; round < PROFILED.rounds; round++) bursts.push(await runner.burst(PROFILED.burstMs))
  const file = keep === undefined ? join(world.folder, 'run.cpuprofile') : `${keep}.cpuprofile`
  await server.stopProfile(file)
  const microseconds = bursts.reduce((sum, one) => sum + one.microseconds, 0) / bursts.length
  return summarise(JSON.parse(readFileSync(file, 'utf8')) as CpuProfile, microseconds)
}

async function cpuOfServers({ gateway, es256, bare, proxy, floor }: World): Promise<number> {
  const sides = [gateway, es256, bare, proxy, floor.side, floor.es256]
  const times = await Promise.all(sides.map(({ server }) => server.cpuMicroseconds()))
  return times.reduce((sum, time) => sum + time, 0)
}

function circumstances({ cores }: World, noise: Noise | undefined): string[] {
  const redis = execFileSync(need('redis-server'), ['--version'], { encoding: 'utf8' })
  const [, redisVersion = '?'] = /v=(\S+)/.exec(redis) ?? []
  const command = ['npm run bench --', ...process.argv.slice(2)].join(' ').replace(/ --$/, '')
  const pinned =
    cores === undefined
      ? 'processes not pinned to cores'
      : `servers on core ${cores.server}, all else on core ${cores.rest}`
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`
  const heard =
    noise === undefined
      ? ''
      : `; of that core other programs had ${percent(noise.othersShare)}, the hypervisor ${percent(noise.stolenShare)}`
  return [
    `${new Date().toISOString().slice(0, 10)}, \`${command}\``,
    `${cpus()[0]?.model.trim()}, ${cpus().length} cores: ${pinned}${heard}`,
    `Node.js ${process.versions.node}, Redis ${redisVersion}, ${process.platform} ${process.arch}`
  ]
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}
