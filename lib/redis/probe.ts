/** Does to Redis what requests do: a script writes a key with a time to live. So it fails where a PING would not. */
import type { Redis } from 'ioredis'
import { defineScript, runScript } from './script.ts'

const KEY_LIFE_MS = 10_000
/**
 * Of the three nodes of the smallest Redis Cluster, each has a third of the slots: one has all of these once in 6,500
 * times.
 */
const SLOTS_TRIED = 8

/** KEYS what is written · ARGV how long it lives (ms) · RETURN 1 */
const WRITE = defineScript(1, `redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) return 1`)

/** Names keys of ours for the probe, each in a slot of its own in a Redis Cluster. */
export type ProbeKey = (slot: number) => string

/**
 * Rejects with the answer of a Redis that refuses. One round trip, and a second one where it does not know the script.
 */
export async function probe(redis: Redis, key: ProbeKey): Promise<void> {
  await runScript(redis, WRITE, [key(0)], [KEY_LIFE_MS])
}

/** The same, and whether this Redis holds all keys: for a new connection. */
export async function probeAll(redis: Redis, key: ProbeKey): Promise<void> {
  const slots = Array.from({ length: SLOTS_TRIED }, (_, slot) => slot)
  await Promise.all([probe(redis, key), ...slots.map((slot) => redis.exists(key(slot)))])
}
