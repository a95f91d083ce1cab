/** Pages through a sorted set, newest first, by a cursor that is good while members come and go. */
import type { Redis } from 'ioredis'
import { defineScript, runScript } from './script.ts'

export interface PageRequest {
  /** How many at most. */
  limit: number
  /** Where the page before ended: its `next`. */
  cursor?: string | undefined
}

export interface Page<T> {
  items: T[]
  /** undefined on the last page. */
  next: string | undefined
}

/** Where a member stands: by its score, then by its name. */
export interface Position {
  score: number
  member: string
}

/**
 * KEYS sorted set; ARGV highest score, lowest score, the member after which to begin (or nothing), how many. Members
 * and scores by turns. Of one score the members come in falling order of their bytes, so the position is known though
 * the member is gone; Lua's own < goes by the locale.
 */
const MEMBERS_AFTER = defineScript(
  1,
  `local function isBelow(one, other)
  for at = 1, math.min(#one, #other) do
    local a, b = one:byte(at), other:byte(at)
    if a ~= b then return a < b end
  end
  return #one < #other
end
local found, offset, wanted = {}, 0, tonumber(ARGV[4])
while #found < 2 * wanted do
  local batch = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', offset, wanted)
  for at = 1, #batch, 2 do
    local isAfter = ARGV[3] == '' or tonumber(batch[at + 1]) < tonumber(ARGV[1]) or isBelow(batch[at], ARGV[3])
    if isAfter and #found < 2 * wanted then
      found[#found + 1] = batch[at]
      found[#found + 1] = batch[at + 1]
    end
  end
  if #batch < 2 * wanted then break end
  offset = offset + wanted
end
return found`
)

export interface MembersQuery {
  after: Position | undefined
  count: number
  /** Lower scores count as gone. Default: 0. */
  lowest?: number | undefined
}

/** At most `count` members after `after`, from the highest score down. What it costs does not grow with the set. */
async function membersAfter(
  redis: Redis,
  key: string,
  { after, count, lowest = 0 }: MembersQuery
): Promise<Position[]> {
  const args = [after?.score ?? '+inf', lowest, after?.member ?? '', count]
  const flat = (await runScript(redis, MEMBERS_AFTER, [key], args)) as string[]
  return Array.from({ length: flat.length / 2 }, (_, index) => ({
    member: flat[2 * index] ?? '',
    score: Number(flat[2 * index + 1])
  }))
}

/** Less than 0 where `one` comes before `other`. */
export function comparePositions(one: Position, other: Position): number {
  if (one.score !== other.score) return other.score - one.score
  return Buffer.compare(Buffer.from(other.member), Buffer.from(one.member))
}

/** For a URL: the score in base 36, a dot, the member. Scores are whole, members of `[\w.-]`. */
export const writeCursor = ({ score, member }: Position): string => `${score.toString(36)}.${member}`

export function readCursor(cursor: string | undefined): Position | undefined {
  if (cursor === undefined) return undefined
  const dot = cursor.indexOf('.')
  return { score: Number.parseInt(cursor.slice(0, dot), 36), member: cursor.slice(dot + 1) }
}

/** Rounds of one page: what is gone may fill some of them. */
const MOST_ROUNDS = 20

export interface MemberPage<T> {
  items: { position: Position; item: T }[]
  /** Where the page ended, if anything may follow. */
  stop: Position | undefined
}

export interface MemberPageQuery<T> extends MembersQuery {
  /** What each member is, in their order; undefined for what is gone. */
  describe(members: string[]): Promise<(T | undefined)[]>
}

/** One page of what the members of a sorted set stand for. `count`: how many at most; fewer where much is gone. */
export async function readPage<T>(
  redis: Redis,
  key: string,
  { after, count, describe, lowest }: MemberPageQuery<T>
): Promise<MemberPage<T>> {
  const items: MemberPage<T>['items'] = []
  let reached = after
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const positions = await membersAfter(redis, key, { after: reached, count: count + 1, lowest })
    const described = await describe(positions.map(({ member }) => member))
    items.push(...positions.flatMap((position, at) => found(position, described[at])))
    const stop = items[count - 1]?.position
    if (items.length > count && stop !== undefined) return { items: items.slice(0, count), stop }
    if (positions.length <= count) return { items, stop: undefined }
    reached = positions.at(-1)
  }
  return { items, stop: reached }
}

const found = <T>(position: Position, item: T | undefined) => (item === undefined ? [] : [{ position, item }])
