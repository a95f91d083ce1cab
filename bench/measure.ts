/** Bursts of requests, and what they cost the server. */
import type { Case, CaseName } from './cases.ts'
import type { Answer, Judge, Load } from './load.ts'
import type { MeasuredServer } from './processes.ts'

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

/** A server, and those who call it. */
export interface Side {
  server: MeasuredServer
  load: Load
  /** CPU time of the Redis that it uses, since that started; 0 where it uses none. */
  redisMicroseconds(): Promise<number>
}

/** A case, and who answers it. */
export interface Entry {
  side: Side
  subject: Case
}

export interface Contest {
  name: CaseName
  ours: Entry
  /** The same work by the floor; undefined where it does not do it. */
  floor: Entry | undefined
}

export interface Burst {
  /** CPU time of the server for one request. */
  microseconds: number
  /** CPU time of its Redis for one request. */
  redisMicroseconds: number
  requestsPerSecond: number
}

export interface Result {
  bursts: Burst[]
  /** Each burst against the bare ones just before and after it. */
  ratios: number[]
  floorBursts: Burst[]
  /** Each burst against the floor's of the same round. */
  floorRatios: number[]
}

export const NO_RESULT: Result = { bursts: [], ratios: [], floorBursts: [], floorRatios: [] }

export class Runner {
  readonly #entry: Entry
  readonly #judge: Judge
  #rate = 0

  constructor(entry: Entry) {
    this.#entry = entry
    this.#judge = judgeOf(entry.subject)
  }

  /** Runs the case until it is warm. */
  async warmUp(ms: number): Promise<void> {
    const until = performance.now() + ms
    while (performance.now() < until) await this.#send(WARM_UP_BURST)
  }

  async burst(ms: number): Promise<Burst> {
    await this.#send(this.#countFor(ms / LEAD_IN))
    return this.#send(this.#countFor(ms))
  }

  #countFor(ms: number): number {
    return Math.max(Math.round((this.#rate * ms) / 1000), SMALLEST_BURST)
  }

  async #send(count: number): Promise<Burst> {
    const { side, subject } = this.#entry
    const requests = await subject.prepare(count)
    const redisBefore = await side.redisMicroseconds()
    const cpuBefore = await side.server.cpuMicroseconds()
    const startedAt = performance.now()
    await side.load.send(requests, this.#judge)
    const seconds = (performance.now() - startedAt) / 1000
    const cpu = (await side.server.cpuMicroseconds()) - cpuBefore
    const redis = (await side.redisMicroseconds()) - redisBefore
    this.#rate = count / seconds
    return { microseconds: cpu / count, redisMicroseconds: redis / count, requestsPerSecond: this.#rate }
  }
}

/** At a glance: by status and mark. */
export const looksRight = ({ status = 200, mark }: Case, answer: Answer): boolean =>
  answer.status === status && answer.body.includes(mark)

function judgeOf(subject: Case): Judge {
  let closeLooks = CLOSE_LOOKS
  return (answer: Answer) => {
    const right = looksRight(subject, answer) && (closeLooks-- <= 0 || subject.isRight(answer))
    if (!right) throw new Error(`${subject.title} was answered wrongly, with ${answer.status}: ${answer.body}`)
  }
}

interface Contestants {
  ours: Runner
  floor: Runner | undefined
  result: Result
}

/**
 * Each round has a bare burst, then for each case one burst of ours, one of the floor, and one bare burst. So what is
 * divided ran on the same machine at the same time. Ours and the floor's take turns in being first.
 */
export async function measure(
  bareEntry: Entry,
  contests: Contest[],
  { rounds, burstMs, warmUpMs }: Plan,
  onProgress: (text: string) => void
): Promise<{ bare: Burst[]; results: Map<CaseName, Result> }> {
  const bareRunner = new Runner(bareEntry)
  const contestants = contests.map(contestantsOf)
  await bareRunner.warmUp(warmUpMs)
  for (const { ours, floor } of contestants) {
    await ours.warmUp(warmUpMs)
    await floor?.warmUp(warmUpMs)
  }

  const bare: Burst[] = []
  for (let round = 1; round <= rounds; round++) {
    onProgress(`round ${round} of ${rounds}`)
    let before = await bareRunner.burst(burstMs)
    bare.push(before)
    for (const each of contestants) {
      await compare(each, burstMs, round % 2 === 0)
      const after = await bareRunner.burst(burstMs)
      const { microseconds = Number.NaN } = each.result.bursts.at(-1) ?? {}
      each.result.ratios.push((2 * microseconds) / (before.microseconds + after.microseconds))
      bare.push(after)
      before = after
    }
  }
  return { bare, results: new Map(contests.map(({ name }, at) => [name, contestants[at]?.result ?? NO_RESULT])) }
}

const contestantsOf = ({ ours, floor }: Contest): Contestants => ({
  ours: new Runner(ours),
  floor: floor && new Runner(floor),
  result: { bursts: [], ratios: [], floorBursts: [], floorRatios: [] }
})

async function compare({ ours, floor, result }: Contestants, burstMs: number, floorFirst: boolean): Promise<void> {
  const early = floorFirst ? await floor?.burst(burstMs) : undefined
  const burst = await ours.burst(burstMs)
  const floorBurst = early ?? (await floor?.burst(burstMs))
  result.bursts.push(burst)
  if (floorBurst === undefined) return
  result.floorBursts.push(floorBurst)
  result.floorRatios.push(burst.microseconds / floorBurst.microseconds)
}
