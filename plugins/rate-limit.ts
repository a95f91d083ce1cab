/** How often one client may call: `app.limits`, counted in Redis by all instances together. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { phoneCodes } from '../lib/limits/user-counts.ts'
import { type Window, Windows } from '../lib/limits/windows.ts'
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
}

const UNLIMITED: Limits = { count: async () => {}, countPhoneCode: async () => {} }

const refusal = ({ leftMs }: Window, message?: string) =>
  new ServiceError('RATE_LIMITED', { retryAfterSeconds: Math.ceil(leftMs / 1000), message })

export default fp<Settings['rateLimit']>(
  async (app: FastifyInstance, { perMinute }) => {
    if (perMinute === 0) return void app.decorate('limits', UNLIMITED)

    const windows = new Windows(app.redis, app.keys)
    const few = Math.ceil(perMinute / 10)
    const most: Record<CountedTogether, number> = { all: perMinute, login: few, phone: few }

    app.decorate('limits', {
      async count(calls, request, sid) {
        const name =
          sid === undefined ? `${kindOf('address', calls)}:${request.client}` : `${kindOf('session', calls)}:${sid}`
        const counted = await countIfPossible(windows, name)
        if (counted !== undefined && counted.count > most[calls]) throw refusal(counted)
      },

      async countPhoneCode(user) {
        const counted = await windows.count(phoneCodes(user), DAY_MS)
        if (counted.count > PHONE_CODES_A_DAY)
          throw refusal(counted, 'Too many phone numbers of this user today; try again after Retry-After')
      }
    })
  },
  { name: 'rate-limit', dependencies: ['clients', 'redis'], fastify: '5.x' }
)

const kindOf = (counted: 'address' | 'session', calls: CountedTogether): string =>
  calls === 'all' ? counted : `${counted}-${calls}`

/** If Redis cannot count, nobody is refused for that. Calls that need Redis say so themselves. */
async function countIfPossible(windows: Windows, name: string): Promise<Window | undefined> {
  try {
    return await windows.count(name, MINUTE_MS)
  } catch {
    return undefined
  }
}
