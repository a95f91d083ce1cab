/** A callback out of quarantine through its door once more, with the settings of today. */
import { ServiceError } from '../errors.ts'
import type { CallbackVerdict, Meters } from '../metrics/meters.ts'
import type { CallbackDoor } from './doors.ts'
import type { KeptCallback, Quarantine, QuarantineStore } from './quarantine.ts'

export interface RetryOutcome {
  verdict: CallbackVerdict
  reason?: string
  /** The webhook-id, where there is an event. */
  id?: string
}

/**
 * Verifies and records as the door does, its signature and its time at `receivedAt` too; puts nothing into quarantine and
 * counts nothing. Throws where Redis is away.
 */
export type Retry = (entry: KeptCallback) => Promise<RetryOutcome>

/** With these in place of its own, what a door does with a callback is a retry. */
export const retrying: { quarantine: Quarantine; meters: Pick<Meters, 'callback'> } = {
  quarantine: { put: async () => undefined },
  meters: { callback: () => undefined }
}

export interface Retries {
  register(door: CallbackDoor, retry: Retry): void
  /** What settles it takes the entry out of quarantine; else it stays. Throws NOT_FOUND. */
  retry(id: string): Promise<RetryOutcome>
}

/** After these WeChat is told success: there is nothing left for a person to do. */
const SETTLED: ReadonlySet<CallbackVerdict> = new Set(['recorded', 'duplicate', 'not-success', 'unconfirmed'])

export function createRetries(quarantine: Pick<QuarantineStore, 'find' | 'remove'>): Retries {
  const doors = new Map<CallbackDoor, Retry>()
  return {
    register(door, retry) {
      if (doors.has(door)) throw new Error(`the door ${door} is registered already`)
      doors.set(door, retry)
    },
    async retry(id) {
      const entry = await quarantine.find(id)
      if (entry === undefined)
        throw new ServiceError('NOT_FOUND', { message: 'Nothing is in quarantine under this id' })
      if (entry === 'unopenable') return { verdict: 'quarantined', reason: 'encryption-key' }
      const retry = doors.get(entry.door)
      if (retry === undefined) throw new Error(`the door ${entry.door} takes nothing again`)
      const outcome = await retry(entry)
      if (SETTLED.has(outcome.verdict)) await quarantine.remove(id, entry.receivedAt)
      return outcome
    }
  }
}
