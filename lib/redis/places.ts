/** Pages through a sorted set, newest first, by a place that holds while members come and go. */
import type { Redis } from 'ioredis'
import { defineScript, runScript } from './script.ts'

/** Where a member stands: by its score, then by its name. */
export interface Place {
  score: number
  member: string
}

/**
 * KEYS sorted set; ARGV highest score, lowest score, the member after which to begin (or nothing), how many. Members
 * and scores by turns. Of one score the members come in falling order of their bytes, so that the place is known though
 * the member is gone; Lua's own < goes by the locale.
 */
const PLACES_AFTER = defineScript(
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

export interface PlacesQuery {
  after: Place | undefined
  count: number
  /** Lower scores count as gone. */
  lowest?: number
}

/** At most `count` places after `after`, from the highest score down. What it costs does not grow with the set. */
export async function placesAfter(
  redis: Redis,
  key: string,
  { after, count, lowest = 0 }: PlacesQuery
): Promise<Place[]> {
  const args = [after?.score ?? '+inf', lowest, after?.member ?? '', count]
  const flat = (await runScript(redis, PLACES_AFTER, [key], args)) as string[]
  return Array.from({ length: flat.length / 2 }, (_, index) => ({
    member: flat[2 * index] ?? '',
    score: Number(flat[2 * index + 1])
  }))
}

/** Less than 0 where `one` comes before `other`. */
export function inOrder(one: Place, other: Place): number {
  if (one.score !== other.score) return other.score - one.score
  return Buffer.compare(Buffer.from(other.member), Buffer.from(one.member))
}

/** For a URL: the score in base 36, a dot, the member. Scores are whole, members of `[\w.-]`. */
export const cursorOf = ({ score, member }: Place): string => `${score.toString(36)}.${member}`

export function placeOf(cursor: string): Place {
  const dot = cursor.indexOf('.')
  return { score: Number.parseInt(cursor.slice(0, dot), 36), member: cursor.slice(dot + 1) }
}

/** Rounds of one page: what is gone may fill some of them. */
const MOST_ROUNDS = 20

export interface PlacedPage<T> {
  items: { place: Place; item: T }[]
  /** Where the page ended, if anything may follow. */
  stop?: Place
}

export interface PlacedPageOptions<T> extends PlacesQuery {
  /** What each member is, in their order; undefined for what is gone. */
  describe(members: string[]): Promise<(T | undefined)[]>
}

/** One page of what the members of a sorted set stand for. `count`: how many at most; fewer where much is gone. */
export async function pageOfPlaces<T>(
  redis: Redis,
  key: string,
  { after, count, describe, ...query }: PlacedPageOptions<T>
): Promise<PlacedPage<T>> {
  const items: { place: Place; item: T }[] = []
  let reached = after
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const places = await placesAfter(redis, key, { ...query, after: reached, count: count + 1 })
    const described = await describe(places.map(({ member }) => member))
    items.push(...places.flatMap((place, at) => placed(place, described[at])))
    const stop = items[count - 1]?.place
    if (items.length > count && stop !== undefined) return { items: items.slice(0, count), stop }
    if (places.length <= count) return { items }
    reached = places.at(-1)
  }
  return { items, ...(reached !== undefined && { stop: reached }) }
}

const placed = <T>(place: Place, item: T | undefined) => (item === undefined ? [] : [{ place, item }])
