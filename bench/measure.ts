/** Bursts of requests, and what they cost the server. */
import type { Case, CaseName } from './cases.ts'
import type { Answer, Judge } from './load.ts'
import type { Side, World } from './world.ts'

/** Answers of each case that are looked at closely; of all others status and mark. */
const CLOSE_LOOKS = 200
const WARM_UP_BURST = 1000
const SMALLEST_BURST = 100
/** Before each burst a part of one that does not count: the other servers have just had the core and its caches. */
const LEAD_IN = 3

export interface Plan {
  rounds: number
  burstMs: number
  warmUpMs: number
}

export interface Burst {
  /** CPU time of the server for one request. */
  microseconds: number
  requestsPerSecond: number
}

export interface Result {
  bursts: Burst[]
  /** Each burst against the bare ones just before and after it. */
  ratios: number[]
}

export interface Runner {
  /** Runs the case until it is warm. */
  warmUp(ms: number): Promise<void>
  burst(ms: number): Promise<Burst>
}

export function createRunner({ server, load }: Side, subject: Case): Runner {
  const judge = createJudge(subject)
  let rate = 0

  async function send(count: number): Promise<Burst> {
    const requests = await subject.prepare(count)
    const cpuBefore = await server.cpuMicroseconds()
    const startedAt = performance.now()
    await load.send(requests, judge)
    const seconds = (performance.now() - startedAt) / 1000
    const cpu = (await server.cpuMicroseconds()) - cpuBefore
    rate = count / seconds
    return { microseconds: cpu / count, requestsPerSecond: rate }
  }

  const countFor = (ms: number) => Math.max(Math.round((rate * ms) / 1000), SMALLEST_BURST)

  return {
    async warmUp(ms) {
      const until = performance.now() + ms
      while (performance.now() < until) await send(WARM_UP_BURST)
    },
    async burst(ms) {
      await send(countFor(ms / LEAD_IN))
      return send(countFor(ms))
    }
  }
}

/** At a glance: by status and mark. */
export const looksRight = ({ status = 200, mark }: Case, answer: Answer): boolean =>
  answer.status === status && answer.body.includes(mark)

function createJudge(subject: Case): Judge {
  let closeLooks = CLOSE_LOOKS
  return (answer: Answer) => {
    const right = looksRight(subject, answer) && (closeLooks-- <= 0 || subject.isRight(answer))
    if (!right) throw new Error(`${subject.title} was answered wrongly, with ${answer.status}: ${answer.body}`)
  }
}

/**
 * Each round has a bare burst, then for each case one burst of the case and one bare burst. So both halves of a ratio
 * ran on the same machine at the same time.
 */
export async function measure(
  world: World,
  cases: [CaseName, Case][],
  bareCase: Case,
  { rounds, burstMs, warmUpMs }: Plan,
  onProgress: (text: string) => void
): Promise<{ bare: Burst[]; results: Map<CaseName, Result> }> {
  const bareRunner = createRunner(world.bare, bareCase)
  const runners = cases.map(([name, subject]) => ({ name, ...createRunner(world[subject.side ?? 'gateway'], subject) }))
  const results = new Map<CaseName, Result>(cases.map(([name]) => [name, { bursts: [], ratios: [] }]))
  for (const { warmUp } of [bareRunner, ...runners]) await warmUp(warmUpMs)

  const bare: Burst[] = []
  for (let round = 1; round <= rounds; round++) {
    onProgress(`round ${round} of ${rounds}`)
    let before = await bareRunner.burst(burstMs)
    bare.push(before)
    for (const { name, burst } of runners) {
      const burstOfCase = await burst(burstMs)
      const after = await bareRunner.burst(burstMs)
      const result = results.get(name)
      result?.bursts.push(burstOfCase)
      result?.ratios.push((2 * burstOfCase.microseconds) / (before.microseconds + after.microseconds))
      bare.push(after)
      before = after
    }
  }
  return { bare, results }
}
