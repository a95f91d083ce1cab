/** The floor as the benchmark sees it: its processes, its own Redis, and what its cases are made from. */
import { createSecretKey } from 'node:crypto'
import { Redis } from 'ioredis'
import { type PrivateRedis, startRedis } from '../tools/redis.ts'
import type { CallbackLedger } from './callbacks.ts'
import { FLOOR_QUEUE } from './floor/events.ts'
import type { FloorEnvironment } from './floor/options.ts'
import { FloorSessions } from './floor/sessions.ts'
import type { Side } from './measure.ts'
import { redisMicroseconds } from './redis-cpu.ts'

const AT_ONCE = 1000
const SESSION_KEY = Buffer.alloc(16, 7)

/** Starts a process of the floor with this environment. */
export type StartFloor = (env: FloorEnvironment, redisMicroseconds: Side['redisMicroseconds']) => Promise<Side>

export interface FloorKeys {
  /** Of HS256 and of ES256. */
  secret: string
  privateKey: string
}

interface FloorParts {
  side: Side
  es256: Side
  redis: PrivateRedis
  connection: Redis
  sessions: FloorSessions
}

export class Floor {
  readonly side: Side
  readonly es256: Side
  readonly #redis: PrivateRedis
  readonly #connection: Redis
  readonly #sessions: FloorSessions
  #opened = 0

  private constructor({ side, es256, redis, connection, sessions }: FloorParts) {
    this.side = side
    this.es256 = es256
    this.#redis = redis
    this.#connection = connection
    this.#sessions = sessions
  }

  static async start(
    env: Omit<FloorEnvironment, 'REDIS_SOCKET' | 'JWT_KEY'>,
    { secret, privateKey }: FloorKeys,
    startFloor: StartFloor
  ): Promise<Floor> {
    const redis = await startRedis()
    const connection = new Redis({ path: redis.socket })
    const common = { ...env, REDIS_SOCKET: redis.socket }
    const microseconds = () => redisMicroseconds(connection)
    const side = await startFloor({ ...common, JWT_KEY: secret }, microseconds)
    const es256 = await startFloor({ ...common, JWT_KEY: privateKey }, microseconds)
    const sessions = await FloorSessions.connect(connection, createSecretKey(env.ENCRYPTION_KEY, 'base64'))
    return new Floor({ side, es256, redis, connection, sessions })
  }

  async refreshTokens(count: number): Promise<string[]> {
    const tokens: string[] = []
    while (tokens.length < count) {
      const some = Array.from({ length: Math.min(count - tokens.length, AT_ONCE) }, () => this.#openOne())
      tokens.push(...(await Promise.all(some)))
    }
    return tokens
  }

  /** It knows no orders. */
  callbacks(): CallbackLedger {
    const expected = new Set<string>()
    return {
      orders: { remember: async () => {} },
      expect: (id) => void expected.add(id),
      prove: async () => {
        const ids = await this.#connection.lrange(FLOOR_QUEUE, 0, -1)
        if (ids.length !== expected.size || !ids.every((id) => expected.has(id)))
          throw new Error(`the floor holds ${ids.length} events instead of ${expected.size}, or others`)
      }
    }
  }

  async stop(): Promise<void> {
    this.#connection.disconnect()
    await this.#redis.stop()
  }

  async #openOne(): Promise<string> {
    const number = String(this.#opened++).padStart(17, '0')
    const { refreshToken } = await this.#sessions.open(`oBenchHeldU${number}`, `uBenchHeldU${number}`, SESSION_KEY)
    return refreshToken
  }
}
