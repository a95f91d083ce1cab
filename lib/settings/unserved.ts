/** Settings that are right by the contract, but that this version does not serve: a start that promised them would lie. */
import type { Settings } from '../settings.ts'
import { Faults } from './faults.ts'

/** Throws SettingsError where the settings ask for what is not there yet. */
export function refuseUnserved({ redis }: Settings): void {
  const faults = new Faults()
  if (/^redis\+/.test(redis.url))
    faults.add('REDIS_URL', 'names Sentinel or Cluster, which this version does not serve')
  faults.throwIfAny()
}
