/** The results as Markdown. */
import type { Case, CaseName } from './cases.ts'
import type { Burst, Result } from './measure.ts'

export const MEMORY_TARGET_MIB = 130

const MARKED = /(<!-- table -->\n).*(<!-- \/table -->)/s

export interface Findings {
  cases: [CaseName, Case][]
  results: Map<CaseName, Result>
  bare: Burst[]
  restingMib: number
  /** Where, when and how. */
  circumstances: string[]
}

export function writeTable({ cases, results, bare, restingMib, circumstances }: Findings): string {
  const rows = cases.map(([name, subject]) => rowOf(subject, results.get(name)))
  const memory = `${restingMib.toFixed(0)} MiB ${mark(restingMib < MEMORY_TARGET_MIB)}`
  return [
    '| case | CPU ÷ bare | quartiles | target | | least µs | best req/s |',
    '| --- | ---: | :---: | ---: | :---: | ---: | ---: |',
    `| bare Fastify route with a response schema | 1.00 | | | | ${bestOf(bare)} |`,
    ...rows,
    '',
    `Memory of the gateway at rest: ${memory} (target: below ${MEMORY_TARGET_MIB} MiB)`,
    '',
    circumstances.join('  \n'),
    ''
  ].join('\n')
}

function rowOf({ title, target }: Case, { bursts, ratios }: Result = { bursts: [], ratios: [] }): string {
  const ratio = quantile(ratios, 0.5)
  const quartiles = `${quantile(ratios, 0.25).toFixed(2)} – ${quantile(ratios, 0.75).toFixed(2)}`
  const verdict = mark(ratio <= target)
  return `| ${title} | **${ratio.toFixed(2)}** | ${quartiles} | ≤ ${target} | ${verdict} | ${bestOf(bursts)} |`
}

function bestOf(bursts: Burst[]): string {
  const least = Math.min(...bursts.map(({ microseconds }) => microseconds))
  const most = Math.max(...bursts.map(({ requestsPerSecond }) => requestsPerSecond))
  return `${least.toFixed(1)} | ${Math.round(most).toLocaleString('en')}`
}

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
