/** Reads what V8's sampling profiler wrote: which functions, and which packages, a request spends its CPU time in. */
import { isBuiltin } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = join(import.meta.dirname, '..')
const FUNCTIONS_SHOWN = 40
const PLACES_SHOWN = 30
const OWN_SHOWN = 25
const OWN_TITLE = 'Time in functions of wxgate with all they call (what runs after an await is counted where it runs)'

interface CallFrame {
  functionName: string
  url: string
  /** From 0. */
  lineNumber: number
}

interface ProfileNode {
  id: number
  callFrame: CallFrame
  children?: number[]
}

/** The parts of a .cpuprofile that matter here. */
export interface CpuProfile {
  nodes: ProfileNode[]
  samples: number[]
  /** Microseconds, one for each sample. */
  timeDeltas: number[]
}

/** Three tables; `microseconds` is the CPU time of one request, which they divide up. */
export function summarise(profile: CpuProfile, microseconds: number): string {
  const times = timeByNode(profile)
  const nodes = profile.nodes.filter(({ callFrame }) => callFrame.functionName !== '(idle)')
  const total = nodes.reduce((sum, { id }) => sum + (times.get(id) ?? 0), 0)
  const self = (nameOf: (frame: CallFrame) => string) =>
    sumBy(nodes.map(({ id, callFrame }) => [nameOf(callFrame), times.get(id) ?? 0]))
  const show = (sums: Map<string, number>, most: number) => tabulate(sums, most, microseconds / total)
  return [
    `${microseconds.toFixed(1)} µs of CPU time a request`,
    `Self time by function\n${show(self(nameOfFunction), FUNCTIONS_SHOWN)}`,
    `Self time by package or folder\n${show(self(placeOf), PLACES_SHOWN)}`,
    `${OWN_TITLE}\n${show(ownTotals(profile.nodes, times), OWN_SHOWN)}`
  ].join('\n\n')
}

function timeByNode({ samples, timeDeltas }: CpuProfile): Map<number, number> {
  const times = new Map<number, number>()
  samples.forEach((id, index) => void times.set(id, (times.get(id) ?? 0) + (timeDeltas[index + 1] ?? 0)))
  return times
}

function sumBy(entries: [name: string, time: number][]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [name, time] of entries) sums.set(name, (sums.get(name) ?? 0) + time)
  return sums
}

function tabulate(sums: Map<string, number>, most: number, microsecondsPerUnit: number): string {
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .slice(0, most)
    .map(([name, time]) => `${(time * microsecondsPerUnit).toFixed(2).padStart(8)} µs  ${name}`)
    .join('\n')
}

/** A function that calls itself is counted once. */
function ownTotals(nodes: ProfileNode[], times: Map<number, number>): Map<string, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const totals = new Map<string, number>()
  const visit = (node: ProfileNode, above: ReadonlySet<string>): number => {
    const name = isOwn(node.callFrame) ? nameOfFunction(node.callFrame) : undefined
    const inside = name === undefined ? above : new Set([...above, name])
    const below = (node.children ?? []).map((id) => byId.get(id)).filter((child) => child !== undefined)
    const time = below.reduce((sum, child) => sum + visit(child, inside), times.get(node.id) ?? 0)
    if (name !== undefined && !above.has(name)) totals.set(name, (totals.get(name) ?? 0) + time)
    return time
  }
  const [root] = nodes
  if (root !== undefined) visit(root, new Set())
  return totals
}

const isOwn = ({ url }: CallFrame): boolean => url.startsWith('file:') && !url.includes('/node_modules/')

function nameOfFunction(frame: CallFrame): string {
  const { functionName, url, lineNumber } = frame
  const place = url === '' ? '' : `  ${fileOf(url)}:${lineNumber + 1}`
  return `${functionName || '(anonymous)'}${place}`
}

/** What has no URL is V8's and libuv's own: system calls, garbage collection, built-in functions. */
function placeOf({ url, functionName }: CallFrame): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native functions)'
  const file = fileOf(url)
  if (file.startsWith('node:')) return file.split('/').slice(0, 2).join('/')
  const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file) ?? []
  return name ?? file.split('/').slice(0, -1).join('/')
}

function fileOf(url: string): string {
  if (isBuiltin(url) || url.startsWith('node:')) return url
  const path = url.startsWith('file:') ? fileURLToPath(url) : url
  return path.includes('node_modules') ? path.slice(path.lastIndexOf('node_modules')) : relative(ROOT, path)
}
