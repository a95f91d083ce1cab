/** What a Redis tells of itself: version, topology, persistence, eviction. Whatever it does not tell is undefined. */
import type { Redis } from 'ioredis'
import type { Trouble } from './trouble.ts'

export interface ServerFacts {
  /** By its own name: Redis, or what speaks its protocol. */
  product: 'Redis' | 'Valkey' | 'Dragonfly'
  /** Of the product, such as `7.0.15`. */
  version: string | undefined
  /** The version of Redis that it is like. */
  redisVersion: string | undefined
  topology: 'single' | 'primary' | 'replica' | 'cluster' | 'sentinel' | undefined
  /** How many replicas are connected to it. */
  replicas: number | undefined
  /** Such as `appendfsync everysec`, `append-only file` (of which no more is known), `snapshots`, `none`. */
  persistence: string | undefined
  /** maxmemory-policy. */
  evictionPolicy: string | undefined
}

type Fields = Record<string, string>

/**
 * Asks with INFO and CONFIG GET; a Redis, or an ACL, that refuses either leaves out what it would have told.
 * Two commands, so for a start and a new connection, not for requests. Never rejects.
 */
export async function readServerFacts(redis: Pick<Redis, 'call' | 'config'>): Promise<ServerFacts> {
  const [info, config] = await Promise.all([
    redis.call('INFO').then(
      (text) => readInfo(String(text)),
      () => ({})
    ),
    redis.config('GET', 'save', 'appendfsync').then(readPairs, () => ({}))
  ])
  return factsOf(info, config)
}

/** Why this Redis is none for us whatever it answers; undefined also where it does not tell. */
export function unfit({ topology, product, version, redisVersion }: ServerFacts): Trouble | undefined {
  if (topology === 'sentinel') return { ...UNFIT, cause: 'SENTINEL', reason: 'is a Sentinel, not a Redis' }
  // What is no number is not known to be older.
  if (!(Number.parseInt(redisVersion ?? '', 10) < OLDEST_MAJOR)) return undefined
  return { ...UNFIT, cause: 'VERSION', reason: `is ${product} ${version}; at least ${OLDEST_MAJOR}.0 is needed` }
}

const OLDEST_MAJOR = 7
const UNFIT = { isSetting: true, mayBeElsewhere: true }

/** Where a connection leads, without user and password. */
export const addressOf = ({ options: { path, host, port } }: Redis): string => path ?? `${host}:${port}`

function factsOf(info: Fields, config: Fields): ServerFacts {
  const { redis_version: redisVersion, valkey_version: valkey, dragonfly_version: dragonfly } = info
  const replicas = info.connected_slaves === undefined ? undefined : Number(info.connected_slaves)
  return {
    product: valkey ? 'Valkey' : dragonfly ? 'Dragonfly' : 'Redis',
    version: valkey ?? dragonfly ?? redisVersion,
    redisVersion,
    topology: topologyOf(info, replicas),
    replicas,
    persistence: persistenceOf(info, config),
    evictionPolicy: info.maxmemory_policy
  }
}

function topologyOf({ redis_mode: mode, role }: Fields, replicas = 0): ServerFacts['topology'] {
  if (mode === 'sentinel' || mode === 'cluster') return mode
  if (role === 'slave') return 'replica'
  if (role === 'master') return replicas > 0 ? 'primary' : 'single'
  return undefined
}

function persistenceOf({ aof_enabled: isAppending }: Fields, { save, appendfsync }: Fields): string | undefined {
  if (isAppending === undefined) return undefined
  if (isAppending !== '0') return appendfsync === undefined ? 'append-only file' : `appendfsync ${appendfsync}`
  if (save === undefined) return 'no append-only file'
  return save === '' ? 'none' : 'snapshots'
}

/** Lines of `name:value`. */
function readInfo(text: string): Fields {
  const lines = text.split(/\r?\n/).map((line) => /^([^#:][^:]*):(.*)$/.exec(line))
  return Object.fromEntries(lines.flatMap((found) => (found === null ? [] : [[found[1], found[2]]])))
}

/** Names and values by turns, as RESP2 has them, or an object of them. */
export function readPairs(answer: unknown): Fields {
  if (!Array.isArray(answer)) return answer as Fields
  return Object.fromEntries(answer.flatMap((name, at) => (at % 2 === 0 ? [[name, answer[at + 1]]] : [])))
}
