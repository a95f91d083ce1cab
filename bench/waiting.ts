/**
 * Whether a callback costs more while many events wait: v2 notices with few events waiting, then with a hundred
 * thousand.
 */
import type { Case, CaseName } from './cases.ts'
import { type Contest, measure, NO_RESULT, type Plan, type Result } from './measure.ts'
import type { Recorded } from './recorded.ts'
import type { World } from './world.ts'

export const MANY_WAITING = 100_000

/** CPU time of gateway and Redis together, against the bare route's. */
export interface Waiting {
  few: Result
  many: Result
}

export async function measureWaiting(
  world: World,
  { notify, test }: Record<CaseName, Case>,
  recorded: Recorded,
  plan: Plan,
  onProgress: (text: string) => void
): Promise<Waiting> {
  // What a queue that grows could slow down is Redis, which has another core than the gateway.
  const { server, load, redisMicroseconds } = world.gateway
  const cpuMicroseconds = async () => (await server.cpuMicroseconds()) + (await redisMicroseconds())
  const side = { server: { ...server, cpuMicroseconds }, load, redisMicroseconds }

  async function measureOne(subject: Case): Promise<Result> {
    const contest: Contest = { name: 'notify', ours: { side, subject }, floor: undefined }
    const { results } = await measure({ side: world.bare, subject: test }, [contest], plan, onProgress)
    await recorded.prove()
    return results.get('notify') ?? NO_RESULT
  }

  onProgress('notify while few events wait: those of one burst')
  const few = await measureOne({
    ...notify,
    async prepare(count) {
      await recorded.clear()
      return notify.prepare(count)
    }
  })
  onProgress(`notify while ${MANY_WAITING} events wait`)
  await recorded.fill(MANY_WAITING)
  const many = await measureOne(notify)
  await recorded.clear()
  return { few, many }
}
