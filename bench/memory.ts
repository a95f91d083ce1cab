/** What the gateway's process takes under load, and what of it it gives back. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Case, CaseName } from './cases.ts'
import { looksRight } from './measure.ts'
import type { Recorded } from './recorded.ts'
import type { World } from './world.ts'

export const SESSIONS_PER_SECOND = 3000
export const LOAD_SECONDS = 150
export const BURST_CALLBACKS = 10_000
export const REST_SECONDS = 60

/** Resident bytes. */
export interface MemoryUse {
  afterSessions: number
  afterBurst: number
  atRest: number
}

export async function measureMemory(
  { gateway: { server, load } }: World,
  { session, notify }: Record<CaseName, Case>,
  recorded: Recorded,
  onProgress: (text: string) => void
): Promise<MemoryUse> {
  onProgress(`memory: ${SESSIONS_PER_SECOND} sessions a second for ${LOAD_SECONDS} seconds`)
  const sessions = await session.prepare(SESSIONS_PER_SECOND)
  for (let second = 0; second < LOAD_SECONDS; second++)
    await load.sendAtRate(sessions, SESSIONS_PER_SECOND, (answer) => check(session, answer))
  const afterSessions = await server.rssBytes()
  onProgress(`memory: ${BURST_CALLBACKS} callbacks, and ${REST_SECONDS} seconds of rest`)
  await load.send(await notify.prepare(BURST_CALLBACKS), (answer) => check(notify, answer))
  const afterBurst = await server.rssBytes()
  await recorded.prove()
  await recorded.clear()
  await sleep(REST_SECONDS * 1000)
  return { afterSessions, afterBurst, atRest: await server.rssBytes() }
}

function check(subject: Case, answer: Parameters<typeof looksRight>[1]): void {
  if (!looksRight(subject, answer)) throw new Error(`${subject.title} was answered wrongly, with ${answer.status}`)
}
