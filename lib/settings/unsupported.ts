/** Settings that the contract allows and this version does not support yet. They stop the start. */

import { Issues } from './issues.ts'
import type { Settings } from './model.ts'

/** Throws SettingsError where the settings ask for what is not there yet. */
export function refuseUnsupported({ redis }: Settings): void {
  const issues = new Issues()
  if (/^redis\+/.test(redis.url))
    issues.add('REDIS_URL', 'names Sentinel or Cluster, which this version does not serve')
  issues.throwIfAny()
}
