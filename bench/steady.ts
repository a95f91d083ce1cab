/** Whether the gateway keeps up with callbacks at a fixed rate, of both payment APIs in turn. */
import type { Case, CaseName } from './cases.ts'
import { looksRight } from './measure.ts'
import type { Recorded } from './recorded.ts'
import type { World } from './world.ts'

export const PER_SECOND = 1000
export const SECONDS = 10
/** WeChat stops waiting then, and repeats. */
const TOO_LATE_MS = 5000

export interface Steady {
  /** Answered otherwise than with success, or too late: WeChat would have to come again. */
  refused: number
  /** CPU time of the gateway, as a part of one core. */
  coreShare: number
  /** Milliseconds, one for each answer. */
  times: number[]
  pinned: boolean
}

export async function measureSteady(
  { gateway: { server, load }, cores }: World,
  { notify, payV3 }: Record<CaseName, Case>,
  recorded: Recorded,
  onProgress: (text: string) => void
): Promise<Steady> {
  onProgress(`${PER_SECOND} callbacks a second for ${SECONDS} seconds`)
  const half = (PER_SECOND * SECONDS) / 2
  const [v2, v3] = [await notify.prepare(half), await payV3.prepare(half)]
  const requests = v2.flatMap((one, at) => [one, v3[at] ?? one])
  const times: number[] = []
  let refused = 0
  const cpuBefore = await server.cpuMicroseconds()
  const startedAt = performance.now()
  await load.sendAtRate(requests, PER_SECOND, (answer, ms) => {
    times.push(ms)
    const isTaken = [notify, payV3].some((subject) => looksRight(subject, answer))
    if (!isTaken || ms > TOO_LATE_MS) refused += 1
  })
  const coreShare = ((await server.cpuMicroseconds()) - cpuBefore) / 1000 / (performance.now() - startedAt)
  // One that was refused may be recorded all the same, or not.
  if (refused === 0) await recorded.prove()
  await recorded.clear()
  return { refused, coreShare, times, pinned: cores !== undefined }
}
