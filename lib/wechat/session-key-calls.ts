/**
 * What may be done with a user's session_key without seeing it: ask WeChat whether it holds, have it reset, sign with
 * it (mini-program.md 1.3).
 */
import type { Redis } from 'ioredis'
import { hasCode, ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import { type Lease, Leases } from '../redis/lease.ts'
import type { HeldKeys } from '../sessions/held-keys.ts'
import { decodeSessionKey } from '../sessions/session-keys.ts'
import type { User } from '../sessions/store.ts'
import { singleFlight } from '../util/single-flight.ts'
import type { AccessTokens } from './access-token.ts'
import { signWithSessionKey } from './session-signature.ts'

/** What a reset needs of Redis beside WeChat's time. */
const LEASE_MARGIN_MS = 1000

/** All throw SESSION_KEY_EXPIRED where the user's newest key is no longer held, or none ever was. */
export interface SessionKeyCalls {
  /** Whether the newest key held is the one that WeChat holds. Throws WECHAT_*. */
  check(user: User): Promise<boolean>
  /**
   * Has WeChat replace the newest key, and holds the new one. Those who ask at the same time, on whichever instances,
   * share one reset. Throws SESSION_KEY_EXPIRED also where WeChat no longer takes our key, and WECHAT_*. It is not
   * repeated once it may have reached WeChat: after a lost answer (WECHAT_TIMEOUT, WECHAT_UNREACHABLE,
   * WECHAT_BAD_RESPONSE, Redis away) the key held may be dead, `check` then says false, and the next login brings a new
   * one.
   */
  reset(user: User): Promise<void>
  /** Hex HMAC-SHA256 of `data` under the newest key. WeChat is not asked whether it holds. */
  sign(user: User, data: string): Promise<string>
}

export interface SessionKeyCallOptions {
  redis: Redis
  keys: Keys
  heldKeys: HeldKeys
  accessTokens: AccessTokens
  /** Longest time that one call to WeChat can take, its repetition included: the lease of a lock holder is longer. */
  upstreamMs: number
}

export function createSessionKeyCalls(options: SessionKeyCallOptions): SessionKeyCalls {
  const { redis, keys, heldKeys, accessTokens, upstreamMs } = options
  const flight = singleFlight<void>()
  const leases = new Leases({
    redis,
    leaseMs: upstreamMs + LEASE_MARGIN_MS,
    detail: 'another instance resets this session_key and did not finish in time'
  })

  async function newestKey(user: User): Promise<Buffer> {
    const key = await heldKeys.newest(user)
    if (key === undefined) throw new ServiceError('SESSION_KEY_EXPIRED')
    return key
  }

  /** A GET without a body: the message that is signed is empty. */
  const ask = ({ appid, openid }: User, path: string, key: Buffer) =>
    accessTokens.query('session-key', appid, path, {
      openid,
      signature: signWithSessionKey('', key),
      sig_method: 'hmac_sha256'
    })

  /**
   * The lease is for other instances: WeChat would refuse the second reset, which is signed with a key that the first
   * made invalid.
   */
  async function resetOnce(user: User): Promise<void> {
    const key = await newestKey(user)
    await leases.run(keys.sessionKeyLock(user.appid, user.openid), {
      hold: (lease) => resetWith(lease, user, key),
      wait: async () => undefined
    })
  }

  /** Where the key is another one by now, somebody else had it replaced: what was asked for is done. */
  async function resetWith(lease: Lease, user: User, key: Buffer): Promise<true> {
    if ((await newestKey(user)).equals(key)) await replaceKey(user, key)
    lease.release()
    return true
  }

  async function replaceKey(user: User, key: Buffer): Promise<void> {
    const { session_key } = await ask(user, '/wxa/resetusersessionkey', key)
    const fresh = typeof session_key === 'string' ? decodeSessionKey(session_key) : undefined
    if (fresh === undefined) {
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'resetusersessionkey answered without a session_key' })
    }
    await heldKeys.replace(user, key, fresh)
  }

  return {
    async check(user) {
      const key = await newestKey(user)
      const send = () => ask(user, '/wxa/checksession', key)
      try {
        // It changes nothing at WeChat: an answer that is none is worth a second try.
        await send().catch((error) => (hasCode(error, 'WECHAT_BAD_RESPONSE') ? send() : Promise.reject(error)))
        return true
      } catch (error) {
        if (hasCode(error, 'SESSION_KEY_EXPIRED')) return false
        throw error
      }
    },

    reset: (user) => flight(`${user.appid} ${user.openid}`, () => resetOnce(user)),

    sign: async (user, data) => signWithSessionKey(data, await newestKey(user))
  }
}
