/** The results as Markdown. */
import type { Case, CaseName } from './cases.ts'
import { type Burst, NO_RESULT, type Result } from './measure.ts'
import {
  BURST_CALLBACKS,
  LOAD_SECONDS,
  type MemoryUse,
  REST_SECONDS as QUIET_SECONDS,
  SESSIONS_PER_SECOND
} from './memory.ts'
import { PER_SECOND, SECONDS, type Steady } from './steady.ts'
import { MANY_WAITING, type Waiting } from './waiting.ts'

export const MEMORY_TARGET_MIB = 130
const LOADED_TARGET_MIB = 260
const MIB = 1024 * 1024
const READY_TARGET_SECONDS = 1.2
const SESSION_TARGET_BYTES = 600
const BARE_TITLE = 'the unit of the old column: a bare Fastify route with a response schema'
const MILLION_TITLE = '`GET /api/session` (HS256) while Redis holds a million sessions'

const WAITING_TITLE = `notify, CPU of gateway and Redis: ${MANY_WAITING.toLocaleString('en')} waiting events ÷ few`

const MARKED = /(<!-- table -->\n).*(<!-- \/table -->)/s

export interface Findings {
  cases: [CaseName, Case][]
  results: Map<CaseName, Result>
  bare: Burst[]
  /** Of several starts. */
  readyMs: number[]
  restingMib: number
  memory: MemoryUse | undefined
  /** Of Redis, for one session with everything that belongs to it. */
  sessionBytes: number
  /** `GET /api/session` while Redis holds a million sessions; where it was measured. */
  million: Result | undefined
  waiting: Waiting | undefined
  steady: Steady | undefined
  /** Where, when and how. */
  circumstances: string[]
}

export function writeTable({
  cases,
  results,
  bare,
  readyMs,
  restingMib,
  memory,
  sessionBytes,
  million,
  waiting,
  steady,
  circumstances
}: Findings): string {
  const rows = cases.map(([name, subject]) => rowOf(subject, results.get(name)))
  const resting = `${restingMib.toFixed(0)} MiB ${mark(restingMib < MEMORY_TARGET_MIB)}`
  return [
    '| case | ÷ floor | quartiles | goal | | µs | floor µs | Redis µs | floor Redis µs | best req/s | ÷ bare (old) |',
    '| --- | ---: | :---: | ---: | :---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
    ...(million === undefined ? [] : [rowOf({ title: MILLION_TITLE, goal: 1.4 }, million)]),
    rowOf({ title: BARE_TITLE, goal: undefined }, { ...NO_RESULT, bursts: bare, ratios: [1] }),
    '',
    ...comparisons(results, million, waiting).map(comparisonLine),
    ...(steady === undefined ? [] : [steadyLine(steady)]),
    readyLine(readyMs),
    `- Memory of the gateway at rest: ${resting} (target: below ${MEMORY_TARGET_MIB} MiB)`,
    ...(memory === undefined ? [] : [memoryLine(memory)]),
    `- Memory of Redis for one session, its session_key and everything else of it: ${Math.round(sessionBytes)} bytes ` +
      `${mark(sessionBytes <= SESSION_TARGET_BYTES)} (target: at most ${SESSION_TARGET_BYTES})`,
    '',
    circumstances.join('  \n'),
    ''
  ].join('\n')
}

interface Comparison {
  title: string
  value: number
  target?: number
}

/** Results of two cases together. The cost of an upstream call is the bare proxy less the bare route. */
function comparisons(
  results: Map<CaseName, Result>,
  million: Result | undefined,
  waiting: Waiting | undefined
): Comparison[] {
  const median = (name: CaseName) => quantile(results.get(name)?.ratios ?? [], 0.5)
  const upstream = median('proxy') - 1
  const grown = million && quantile(million.ratios, 0.5) / median('session')
  const slowed = waiting && quantile(waiting.many.ratios, 0.5) / quantile(waiting.few.ratios, 0.5)
  return [
    { title: 'passthrough ÷ bare proxy', value: median('passthrough') / median('proxy') },
    {
      title: 'refresh ÷ login less its upstream call',
      value: median('refresh') / (median('login') - upstream),
      target: 1.3
    },
    ...(grown === undefined ? [] : [{ title: 'session: a million sessions ÷ a thousand', value: grown }]),
    ...(slowed === undefined ? [] : [{ title: WAITING_TITLE, value: slowed, target: 1.1 }])
  ].filter(({ value }) => !Number.isNaN(value))
}

function comparisonLine({ title, value, target }: Comparison): string {
  const verdict = target === undefined ? '' : ` ${mark(value <= target)} (target: at most ${target})`
  return `- ${title}: **${value.toFixed(2)}**${verdict}`
}

function readyLine(times: number[]): string {
  const seconds = quantile(times, 0.5) / 1000
  const verdict = `${mark(seconds <= READY_TARGET_SECONDS)} (target: at most ${READY_TARGET_SECONDS} s)`
  return `- From the start of the process to the first 200 of /readyz: **${seconds.toFixed(2)} s** ${verdict}`
}

function steadyLine({ refused, coreShare, times, pinned }: Steady): string {
  const rate = `${PER_SECOND.toLocaleString('en')} callbacks a second for ${SECONDS} s, v2 and v3 in turn`
  const core = `${(100 * coreShare).toFixed(0)} % of ${pinned ? 'its core' : 'one core, though not pinned to it'}`
  const [median, worst] = [0.5, 1].map((part) => quantile(times, part).toFixed(1))
  const answered = `answered in ${median} ms at the median, ${worst} ms at worst`
  return `- ${rate}: **${refused} refused** ${mark(refused === 0)} (target: 0), ${core}, ${answered}`
}

function memoryLine({ afterSessions, afterBurst, atRest }: MemoryUse): string {
  const loaded = Math.max(afterSessions, afterBurst)
  const [first, second, last] = [afterSessions, afterBurst, atRest].map((bytes) => (bytes / MIB).toFixed(0))
  const sessions = `${SESSIONS_PER_SECOND.toLocaleString('en')} sessions a second for ${LOAD_SECONDS} s`
  const burst = `${BURST_CALLBACKS.toLocaleString('en')} callbacks at once`
  const verdict = `${mark(loaded <= LOADED_TARGET_MIB * MIB)} (target: at most ${LOADED_TARGET_MIB} MiB)`
  return (
    `- Memory after ${sessions}: ${first} MiB, then ${burst}: ${second} MiB ${verdict}, ` +
    `and ${QUIET_SECONDS} s later ${last} MiB`
  )
}

function rowOf(
  { title, goal }: Pick<Case, 'title'> & { goal?: number | undefined },
  { bursts, ratios, floorBursts, floorRatios }: Result = NO_RESULT
): string {
  const ratio = quantile(floorRatios, 0.5)
  const hasFloor = floorRatios.length > 0
  const most = Math.max(...bursts.map(({ requestsPerSecond }) => requestsPerSecond))
  const cells = [
    title,
    hasFloor ? `**${ratio.toFixed(2)}**` : '',
    hasFloor ? `${quantile(floorRatios, 0.25).toFixed(2)} – ${quantile(floorRatios, 0.75).toFixed(2)}` : '',
    goal === undefined ? '' : `≤ ${goal}`,
    goal === undefined ? '' : mark(ratio <= goal),
    leastOf(bursts),
    leastOf(floorBursts),
    redisOf(bursts),
    redisOf(floorBursts),
    Math.round(most).toLocaleString('en'),
    quantile(ratios, 0.5).toFixed(2)
  ]
  return `| ${cells.join(' | ')} |`
}

const leastOf = (bursts: Burst[]): string =>
  bursts.length === 0 ? '' : Math.min(...bursts.map(({ microseconds }) => microseconds)).toFixed(1)

/** Of the middle burst: what Redis does now and then for itself is in some of them. */
const redisOf = (bursts: Burst[]): string =>
  bursts.length === 0
    ? ''
    : quantile(
        bursts.map(({ redisMicroseconds }) => redisMicroseconds),
        0.5
      ).toFixed(1)

const mark = (holds: boolean): string => (holds ? '✔' : '✘')

/** Between neighbours in proportion. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * part
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

/** `page` with `table` between its markers. Throws where it has none. */
export function putInto(page: string, table: string): string {
  if (!MARKED.test(page)) throw new Error('bench/README.md has no <!-- table --> … <!-- /table --> any more')
  return page.replace(MARKED, (_all, open, close) => `${open}\n${table}\n${close}`)
}
