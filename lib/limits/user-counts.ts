/** What is counted for a user in Redis, beside their sessions: to be shown, and to be erased. */
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { unlessWrongType } from '../redis/trouble.ts'

/** A person, as one app knows them. */
interface User {
  appid: string
  openid: string
}

export interface UserCount {
  name: 'phone-codes' | 'failed-tries'
  count: number
  /** When counting begins anew, milliseconds since 1970. */
  endsAtMs: number
}

/** The last time that JavaScript can write. */
const LATEST_MS = 8.64e15

/** Of the window that counts the phone codes of a user. */
export const phoneCodes = ({ appid, openid }: User): string => `phone-codes:${appid}:${openid}`

/** Each count by its name; all of them have an end. */
const placesOf = (keys: Keys, user: User): Record<UserCount['name'], string> => ({
  'phone-codes': keys.window(phoneCodes(user)),
  'failed-tries': keys.failedTries(user.appid, user.openid)
})

/** Those that are open at `nowMs`. */
export async function readUserCounts(redis: Redis, keys: Keys, user: User, nowMs: number): Promise<UserCount[]> {
  const names = Object.entries(placesOf(keys, user)) as [UserCount['name'], string][]
  const read = names.map(async ([name, place]) => {
    const [text, leftMs] = await Promise.all([unlessWrongType(redis.get(place), () => null), redis.pttl(place)])
    return { name, count: Number(text), endsAtMs: nowMs + leftMs }
  })
  return (await Promise.all(read)).filter(isOpen(nowMs))
}

/** Damaged ones are none. */
const isOpen =
  (nowMs: number) =>
  ({ count, endsAtMs }: UserCount): boolean =>
    Number.isSafeInteger(count) && count > 0 && endsAtMs > nowMs && endsAtMs <= LATEST_MS

export async function eraseUserCounts(redis: Redis, keys: Keys, user: User): Promise<void> {
  await Promise.all(Object.values(placesOf(keys, user)).map((place) => redis.del(place)))
}
