/**
 * What may be done with a user's session_key without seeing it: ask WeChat whether it holds, have it reset, sign with
 * it (docs/wechat/mini-program.md 1.3).
 */
import { createHmac } from 'node:crypto'
import { hasCode, ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import type { Lease, LeaseKind, Leases } from '../redis/lease.ts'
import { decodeSessionKey } from '../sessions/key-history.ts'
import type { User } from '../sessions/model.ts'
import type { SessionKeys } from '../sessions/session-keys.ts'
import { singleFlight } from '../util/single-flight.ts'
import type { AccessTokens } from './access-token.ts'
import type { WechatAnswer } from './client.ts'

/** What a reset needs of Redis beside WeChat's time. */
const LEASE_MARGIN_MS = 1000

export interface SessionKeyCallOptions {
  leases: Pick<Leases, 'run'>
  keys: Keys
  sessionKeys: Pick<SessionKeys, 'newest' | 'replace'>
  accessTokens: AccessTokens
  /** Longest time that one call to WeChat can take, its repetition included: a lease is longer. */
  upstreamMs: number
}

/** All throw SESSION_KEY_EXPIRED where the user's newest key is no longer held, or none ever was. */
export class SessionKeyCalls {
  readonly #options: SessionKeyCallOptions
  readonly #lease: LeaseKind
  readonly #flight = singleFlight<void>()

  constructor(options: SessionKeyCallOptions) {
    this.#options = options
    this.#lease = {
      leaseMs: options.upstreamMs + LEASE_MARGIN_MS,
      detail: 'another instance resets this session_key and did not finish in time'
    }
  }

  /** Whether the newest key held is the one that WeChat holds. Throws WECHAT_*. */
  async check(user: User): Promise<boolean> {
    const key = await this.#newestKey(user)
    const send = () => this.#ask(user, '/wxa/checksession', key)
    try {
      // It changes nothing at WeChat, so an unreadable answer is worth a second try.
      await send().catch((error) => (hasCode(error, 'WECHAT_BAD_RESPONSE') ? send() : Promise.reject(error)))
      return true
    } catch (error) {
      if (hasCode(error, 'SESSION_KEY_EXPIRED')) return false
      throw error
    }
  }

  /**
   * Has WeChat replace the newest key, and holds the new one. Those who ask at the same time, on whichever instances,
   * share one reset. Throws SESSION_KEY_EXPIRED also where WeChat no longer takes our key, and WECHAT_*. It is not
   * repeated once it may have reached WeChat: after a lost answer (WECHAT_TIMEOUT, WECHAT_UNREACHABLE,
   * WECHAT_BAD_RESPONSE, Redis away) the key held may be dead, `check` then says false, and the next login brings a new
   * one.
   */
  reset(user: User): Promise<void> {
    return this.#flight(`${user.appid} ${user.openid}`, () => this.#resetOnce(user))
  }

  /** Hex HMAC-SHA256 of `data` under the newest key. WeChat is not asked whether it holds. */
  async sign(user: User, data: string): Promise<string> {
    return signWithSessionKey(data, await this.#newestKey(user))
  }

  async #newestKey(user: User): Promise<Buffer> {
    const key = await this.#options.sessionKeys.newest(user)
    if (key === undefined) throw new ServiceError('SESSION_KEY_EXPIRED')
    return key
  }

  /** A GET has no body, so the message that is signed is empty. */
  #ask({ appid, openid }: User, path: string, key: Buffer): Promise<WechatAnswer> {
    const query = { openid, signature: signWithSessionKey('', key), sig_method: 'hmac_sha256' }
    return this.#options.accessTokens.query('session-key', appid, path, query)
  }

  /** The lease is for other instances: WeChat refuses a second reset that is signed with the key of before. */
  async #resetOnce(user: User): Promise<void> {
    const { leases, keys } = this.#options
    const key = await this.#newestKey(user)
    await leases.run(keys.sessionKeyLock(user.appid, user.openid), this.#lease, {
      hold: (lease) => this.#resetWith(lease, user, key),
      wait: async () => undefined
    })
  }

  /** Where the key is another one by now, another caller has replaced it, and nothing is left to do. */
  async #resetWith(lease: Lease, user: User, key: Buffer): Promise<true> {
    if ((await this.#newestKey(user)).equals(key)) await this.#replace(user, key)
    lease.release()
    return true
  }

  async #replace(user: User, key: Buffer): Promise<void> {
    const { session_key } = await this.#ask(user, '/wxa/resetusersessionkey', key)
    const fresh = typeof session_key === 'string' ? decodeSessionKey(session_key) : undefined
    if (fresh === undefined)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'resetusersessionkey answered without a session_key' })
    await this.#options.sessionKeys.replace(user, key, fresh)
  }
}

/**
 * hex(HMAC-SHA256(data as UTF-8)), by which a session_key proves itself to WeChat's APIs. The key goes in as its base64
 * text, not decoded. `data` is the exact body of a POST, and empty for a GET.
 */
const signWithSessionKey = (data: string, sessionKey: Buffer): string =>
  createHmac('sha256', sessionKey.toString('base64')).update(data).digest('hex')
