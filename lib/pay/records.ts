/** What we asked of WeChat Pay under a number of ours: written before it is asked, so that nothing comes too early to be compared. */
import type { Redis } from 'ioredis'
import { defineScript, runScript } from '../redis/script.ts'
import type { ApiName } from './api.ts'

/** Longer than WeChat repeats a callback about anything of it; the rest is for questions. */
export const RECORD_LIFE_SECONDS = 40 * 86_400

/** Where a record lies, and beside it, in the same slot, the last known state of what it is about. */
export interface RecordKeys {
  record: string
  state: string
}

/** What is in every record, and no part of what was asked for. */
export interface Recorded {
  /** By which it was asked for first. */
  api: ApiName
  /** Unix seconds at which it was asked for, last where that was done several times. */
  createdAt: number
}

export interface Records<T extends Recorded> {
  /**
   * Records once. Answers the record that stands and whether it is this one, or an earlier one of the same number. Where the
   * same is asked for again, the record lives on from then.
   */
  remember(keys: RecordKeys, record: T): Promise<{ record: T; fresh: boolean }>
  /**
   * For what WeChat certainly did not take, so that its number can be used for another try. The record stays where another
   * call has come for the same meanwhile: that one may be taken.
   */
  forget(keys: RecordKeys, record: T): Promise<void>
  find(keys: RecordKeys): Promise<T | undefined>
  /**
   * Notes a state, which only moves forward: from a lower rank to a higher one, and freely within rank 0. Answers the state
   * that stands. Where nothing was recorded, nothing is held, and the state is right as it is told.
   */
  advance<S extends string>(keys: RecordKeys, state: S, rank: number): Promise<S>
  /** The state that stands; undefined where none was told. */
  stateOf(keys: RecordKeys): Promise<string | undefined>
}

/** The first character of a record: one call wants this, or several do. The rest is JSON, with `api` first and `createdAt` last. */
const ONE = '1'
const SEVERAL = '+'

/** KEYS record, state · ARGV record, life (s): the record that stands, or nothing where it is this one. */
const REMEMBER = defineScript(
  2,
  `
    local function content(record) return string.match(record, '^{"api":"v%d",(.*),"createdAt":%d+}$') end
    local known = redis.call('GET', KEYS[1])
    if not known then
      redis.call('SET', KEYS[1], '${ONE}' .. ARGV[1], 'EX', ARGV[2])
      return false
    end
    local record = string.sub(known, 2)
    if content(record) ~= content(ARGV[1]) then return known end
    local createdAt = string.match(ARGV[1], '%d+}$')
    local again = '${SEVERAL}' .. string.gsub(record, '%d+}$', createdAt)
    redis.call('SET', KEYS[1], again, 'EX', ARGV[2])
    redis.call('EXPIRE', KEYS[2], ARGV[2])
    return again
  `
)

/** KEYS record, state · ARGV the record as one call wrote it. */
const FORGET = defineScript(
  2,
  `if redis.call('GET', KEYS[1]) == '${ONE}' .. ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end`
)

/** KEYS record, state · ARGV state, rank (0 to 9): the state that stands. Held is the rank, then the state, as long as the record. */
const ADVANCE = defineScript(
  2,
  `
    local held = redis.call('GET', KEYS[2])
    local rank = held and tonumber(string.sub(held, 1, 1)) or 0
    local new = tonumber(ARGV[2])
    if held and (new < rank or (new == rank and new > 0)) then return string.sub(held, 2) end
    local life = redis.call('PTTL', KEYS[1])
    if life > 0 then redis.call('SET', KEYS[2], ARGV[2] .. ARGV[1], 'PX', life) end
    return ARGV[1]
  `
)

const read = <T>(text: string): T => JSON.parse(text.slice(1))

/** The same content is the same text, in whatever order it came. */
function write<T extends Recorded>({ api, createdAt, ...content }: T): string {
  return JSON.stringify({ api, ...Object.fromEntries(Object.entries(content).sort()), createdAt })
}

/** `lifeSeconds`: how long a record is kept from when it is asked for. */
export function createRecords<T extends Recorded>(redis: Redis, lifeSeconds: (record: T) => number): Records<T> {
  return {
    async remember({ record: key, state }, record) {
      const known = await runScript(redis, REMEMBER, [key, state], [write(record), lifeSeconds(record)])
      return typeof known === 'string' ? { record: read<T>(known), fresh: false } : { record, fresh: true }
    },
    async forget({ record: key, state }, record) {
      await runScript(redis, FORGET, [key, state], [write(record)])
    },
    async find({ record: key }) {
      const known = await redis.get(key)
      return known === null ? undefined : read<T>(known)
    },
    async advance(keys, state, rank) {
      const standing = await runScript(redis, ADVANCE, [keys.record, keys.state], [state, rank])
      return standing as typeof state
    },
    async stateOf({ state: key }) {
      return (await redis.get(key))?.slice(1)
    }
  }
}

/** Whether the same is meant, by the same api: everything but when it was asked for. */
export function sameContent<T extends Recorded>(one: T, other: T): boolean {
  const [a, b] = [one, other].map(({ createdAt: _createdAt, ...content }) => Object.entries(content).sort())
  return JSON.stringify(a) === JSON.stringify(b)
}
