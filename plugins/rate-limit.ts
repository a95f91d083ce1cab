/** How often one client may call: `app.limits`, counted in Redis by all instances together. */
import rateLimit, { type CreateRateLimitOptions, type FastifyRateLimitStore } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { phoneCodes } from '../lib/limits/user-counts.ts'
import { Windows } from '../lib/limits/windows.ts'
import type { Settings } from '../lib/settings/model.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** WeChat bills phone numbers; no user needs more of them in a day. */
const PHONE_CODES_A_DAY = 30

/** Logins and phone numbers are counted apart, and have a tenth of the limit: they cost WeChat's quota, or money. */
export type CountedTogether = 'all' | 'login' | 'phone'

export interface Limits {
  /**
   * Counts a request for its session, where that is known, else for its address (of IPv6 the first 64 bits). Throws
   * RATE_LIMITED.
   */
  count(calls: CountedTogether, request: FastifyRequest, sid?: string): Promise<void>
  /** Counts a phone code that this user is about to exchange. Throws RATE_LIMITED. */
  countPhoneCode(user: { appid: string; openid: string }): Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    limits: Limits
  }
  interface FastifyRequest {
    /** The session that the request is counted for. */
    countedFor: string | undefined
  }
}

const UNLIMITED: Limits = { count: async () => {}, countPhoneCode: async () => {} }

const refusal = (leftSeconds: number, message?: string) =>
  new ServiceError('RATE_LIMITED', { retryAfterSeconds: leftSeconds, message })

export default fp<Settings['rateLimit']>(
  async (app: FastifyInstance, { perMinute }) => {
    app.decorateRequest('countedFor', undefined)
    if (perMinute === 0) return void app.decorate('limits', UNLIMITED)

    const windows = new Windows(app.redis, app.keys)
    // If Redis cannot count, nobody is refused for that. Calls that need Redis say so themselves.
    await app.register(rateLimit, { global: false, store: storeIn(windows), timeWindow: MINUTE_MS, skipOnError: true })
    const limiters = createLimiters(app, perMinute)

    app.decorate('limits', {
      async count(calls, request, sid) {
        request.countedFor = sid
        const result = await limiters[sid === undefined ? 'address' : 'session'][calls](request)
        if (!result.isAllowed && result.isExceeded) throw refusal(result.ttlInSeconds)
      },

      async countPhoneCode(user) {
        const { count, leftMs } = await windows.count(phoneCodes(user), DAY_MS)
        if (count > PHONE_CODES_A_DAY)
          throw refusal(
            Math.ceil(leftMs / 1000),
            'Too many phone numbers of this user today; try again after Retry-After'
          )
      }
    })
  },
  { name: 'rate-limit', dependencies: ['clients', 'redis'], fastify: '5.x' }
)

/** What is counted together, as the store is told by the limiter. */
interface Bucket extends CreateRateLimitOptions {
  bucket: string
}

function createLimiters(app: FastifyInstance, perMinute: number) {
  const limiter = (options: Bucket) => app.createRateLimit(options)
  const ofKind = (kind: string, more: CreateRateLimitOptions) => {
    const few = { ...more, max: Math.ceil(perMinute / 10) }
    return {
      all: limiter({ ...more, max: perMinute, bucket: kind }),
      login: limiter({ ...few, bucket: `${kind}-login` }),
      phone: limiter({ ...few, bucket: `${kind}-phone` })
    }
  }
  return {
    address: ofKind('address', { keyGenerator: ({ client }) => client }),
    session: ofKind('session', { keyGenerator: ({ countedFor = '' }) => countedFor })
  }
}

/**
 * The store in which the limiters keep their counts. That of the library defines a command of ioredis, and a pipeline
 * that was begun before does not know it.
 */
function storeIn(windows: Windows) {
  return class Store implements FastifyRateLimitStore {
    readonly bucket: string

    constructor({ bucket = '' }: Partial<Bucket>) {
      this.bucket = bucket
    }

    incr(client: string, done: Parameters<FastifyRateLimitStore['incr']>[1], windowMs: number): void {
      windows.count(`${this.bucket}:${client}`, windowMs).then(
        ({ count, leftMs }) => done(null, { current: count, ttl: leftMs }),
        (error: Error) => done(error)
      )
    }

    child(options: unknown): Store {
      return new Store(options as Bucket)
    }
  }
}
