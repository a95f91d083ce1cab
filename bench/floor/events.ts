/**
 * The floor's events: what anybody needs for an event that is durable and not recorded twice. One script writes the
 * identity with the event, unless it is there, and puts it at the end of a list for a worker.
 */
import type { Redis } from 'ioredis'

/** Seconds: 32 days, as the gateway. */
const IDENTITY_TTL = 2_764_800
export const FLOOR_QUEUE = 'floor:{events}:queue'

/**
 * KEYS    the event, the list of those that wait
 * ARGV    the event as JSON, how long it lives (s), its id
 * RETURN  1: recorded · 0: it was there
 */
const RECORD = `
  if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 0 end
  redis.call('LPUSH', KEYS[2], ARGV[3])
  return 1
`

export class FloorEvents {
  readonly #redis: Redis
  readonly #sha: string

  private constructor(redis: Redis, sha: string) {
    this.#redis = redis
    this.#sha = sha
  }

  static async connect(redis: Redis): Promise<FloorEvents> {
    return new FloorEvents(redis, String(await redis.script('LOAD', RECORD)))
  }

  async record(id: string, type: string, data: object): Promise<void> {
    const event = JSON.stringify({ type, timestamp: new Date().toISOString(), data })
    await this.#redis.evalsha(this.#sha, 2, `floor:{events}:${id}`, FLOOR_QUEUE, event, IDENTITY_TTL, id)
  }
}
