/** All connections of a process to its Redis. They can be replaced when their address leads to another one. */
import type { Redis } from 'ioredis'
import { connectPatient, connectPrompt } from './connect.ts'
import type { Trouble } from './trouble.ts'

/** A connection that is refused again at once is not replaced sooner. */
const PAUSE_MS = 1000

interface Member {
  /** When it last became ready, and was last replaced; by performance.now(). */
  readyAt: number
  replacedAt: number
  /** Redis refused a command here, and a new connection may lead to another Redis. */
  isRefused: boolean
}

export interface PoolEvents {
  /** The connection for requests could not be made, or broke. */
  onError: (error: Error) => void
  /** One of them was refused. */
  onRefusal: (trouble: Trouble) => void
}

export class RedisPool {
  readonly #members = new Map<Redis, Member>()
  readonly #url: string
  readonly #events: PoolEvents
  /** For requests. */
  readonly prompt: Redis

  constructor(url: string, events: PoolEvents) {
    this.#url = url
    this.#events = events
    this.prompt = connectPrompt(url, { ...this.#supervision(), onError: events.onError })
  }

  /** One more for a worker, which its owner disconnects. The errors of the way to Redis are those of `prompt` too. */
  openPatient(): Redis {
    return connectPatient(this.#url, { ...this.#supervision(), onError: () => undefined })
  }

  /** Whether any of them waits to be replaced. */
  get hasRefused(): boolean {
    return [...this.#members.values()].some(({ isRefused }) => isRefused)
  }

  /** Replaces all of them; for when a new connection would be served. */
  replaceAll(): void {
    for (const redis of this.#members.keys()) this.#replace(redis)
  }

  /**
   * For when `prompt` is served: replaces the others that were refused, and those that may have missed a move since
   * `time`.
   */
  replaceOthers(time = Number.NEGATIVE_INFINITY): void {
    for (const [redis, { isRefused, readyAt }] of this.#members) {
      if (redis === this.prompt) this.#member(redis).isRefused = false
      else if (isRefused || readyAt < time) this.#replace(redis)
    }
  }

  #supervision() {
    return {
      onConnection: (redis: Redis) => this.#add(redis),
      onRefusal: (trouble: Trouble, redis: Redis) => {
        if (trouble.mayBeElsewhere) this.#member(redis).isRefused = true
        this.#events.onRefusal(trouble)
      }
    }
  }

  #add(redis: Redis): void {
    const member = this.#member(redis)
    redis.on('ready', () => {
      member.readyAt = performance.now()
      member.isRefused = false
      this.#members.set(redis, member)
    })
    redis.on('end', () => this.#members.delete(redis))
  }

  #member(redis: Redis): Member {
    const known = this.#members.get(redis)
    if (known !== undefined) return known
    const member = { readyAt: 0, replacedAt: Number.NEGATIVE_INFINITY, isRefused: false }
    this.#members.set(redis, member)
    return member
  }

  /** Commands without an answer yet: those of requests fail, those of workers are sent again on the new connection. */
  #replace(redis: Redis): void {
    const member = this.#member(redis)
    const now = performance.now()
    if (redis.status !== 'ready' || now - member.replacedAt < PAUSE_MS) return
    member.replacedAt = now
    member.isRefused = false
    redis.disconnect(true)
  }
}
