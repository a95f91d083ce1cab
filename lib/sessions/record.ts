/**
 * A session's record in its user's hash: `created.expires.generation`, once renewed also `.renewed`, base 36: short,
 * since every session of every user carries one.
 */
import type { SessionRecord } from './model.ts'

/** Seven digits of base 36 last until the year 4453. The scripts read a record by the same rule. */
const RECORD = /^([0-9a-z]{1,7})\.([0-9a-z]{1,7})\.([0-9a-z]{1,7})(?:\.([0-9a-z]{0,7}))?$/

export const writeRecord = ({ createdAt, expiresAt, generation }: SessionRecord): string =>
  [createdAt, expiresAt, generation].map((value) => value.toString(36)).join('.')

/** undefined where it is damaged. */
export function readRecord(text: string): SessionRecord | undefined {
  const [, createdAt, expiresAt, generation] = RECORD.exec(text) ?? []
  if (createdAt === undefined || expiresAt === undefined || generation === undefined) return undefined
  return { createdAt: read36(createdAt), expiresAt: read36(expiresAt), generation: read36(generation) }
}

/** When a session ends at the latest, however often it is refreshed; `maxAgeSeconds` 0: never. */
export const latestEnd = (createdAt: number, maxAgeSeconds: number): number =>
  maxAgeSeconds === 0 ? Number.POSITIVE_INFINITY : createdAt + maxAgeSeconds

const read36 = (text: string) => Number.parseInt(text, 36)
