/** Sessions written straight into Redis, as many as nobody would log in one by one; and what they take up there. */

import { Sealer } from '../lib/crypto/seal.ts'
import { connectPatient, settled } from '../lib/redis/connect.ts'
import { redisKeys } from '../lib/redis/keys.ts'
import type { Session } from '../lib/sessions/model.ts'
import { writeRefreshToken } from '../lib/sessions/refresh-tokens.ts'
import { SessionKeys } from '../lib/sessions/session-keys.ts'
import { SessionStore } from '../lib/sessions/store.ts'
import { REDIS_PREFIX, type World } from './world.ts'

/** The defaults of the settings. */
const REFRESH_TTL_SECONDS = 2_592_000
const SESSION_KEY_TTL_SECONDS = 7200
const AT_ONCE = 1000
const SESSION_KEY = Buffer.alloc(16, 7)

export interface Sessions {
  /** Begins `count` sessions, each of a user of its own, with a unionid and a held session_key. */
  open(count: number): Promise<Session[]>
  refreshTokenOf(session: Session): string
  /** What Redis uses for everything that it holds. */
  usedBytes(): Promise<number>
  close(): void
}

export async function connectSessions({ redis, encryptionKey, payee: { appid } }: World): Promise<Sessions> {
  const connection = connectPatient(redis.url, () => {
    // A Redis that is away shows in the answers.
  })
  await settled(connection, 5000)
  const sealer = new Sealer([encryptionKey])
  const common = { redis: connection, keys: redisKeys(REDIS_PREFIX), sealer, onDamaged: () => {}, now: Date.now }
  const store = new SessionStore({
    ...common,
    sessionKeys: new SessionKeys(common),
    refreshTtlSeconds: REFRESH_TTL_SECONDS,
    sessionKeyTtlSeconds: SESSION_KEY_TTL_SECONDS,
    sessionMaxAgeSeconds: 0
  })
  let made = 0

  const openOne = () => {
    const number = String(made++).padStart(17, '0')
    const user = { openid: `oBenchHeldU${number}`, unionid: `uBenchHeldU${number}` }
    return store.open({ appid, ...user, sessionKey: SESSION_KEY })
  }

  return {
    async open(count) {
      const sessions: Session[] = []
      while (sessions.length < count) {
        const some = Math.min(count - sessions.length, AT_ONCE)
        sessions.push(...(await Promise.all(Array.from({ length: some }, openOne))))
      }
      return sessions
    },
    refreshTokenOf: (session) => writeRefreshToken(session, sealer),
    async usedBytes() {
      const [, used] = /used_memory:(\d+)/.exec(await connection.info('memory')) ?? []
      return Number(used)
    },
    close: () => connection.disconnect()
  }
}
