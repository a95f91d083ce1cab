/**
 * The access token of each app: one for all instances and callers, held sealed in Redis, renewed by one instance
 * (docs/wechat/mini-program.md 4).
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Sealer } from '../crypto/seal.ts'
import { ServiceError } from '../errors.ts'
import { type Meters, observed } from '../metrics/meters.ts'
import type { Keys } from '../redis/keys.ts'
import type { Lease, LeaseKind, Leases } from '../redis/lease.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/trouble.ts'
import { BackOff } from '../util/back-off.ts'
import { singleFlight } from '../util/single-flight.ts'
import type { Apps } from './apps.ts'
import type { WechatAnswer, WechatClient } from './client.ts'
import { STALE_TOKEN_ERRCODES, type UpstreamCall } from './errcodes.ts'

/** In the last five minutes of a token WeChat gives the next one, and accepts both. */
const RENEW_AHEAD_MS = 300_000
/** A token with a shorter life than usual is renewed in its last third. */
const RENEW_AHEAD_PART = 1 / 3
/** A token that just came is not renewed, however short its life is, and whatever WeChat says of it. */
const SHORTEST_REST_MS = 1000
/** A token lives no longer, whatever is answered. */
const LONGEST_LIFE_SECONDS = 7200
/** What a renewal needs of Redis beside WeChat's time. */
const LEASE_MARGIN_MS = 1000
const FORCE_PAUSE_MS = 30_000
/** WeChat allows 20 a day; the rest is left to the operator. */
const FORCED_A_DAY = 15

export interface AccessToken {
  token: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

/** As it is held in Redis. */
interface HeldToken extends AccessToken {
  /** From when on it is renewed, in milliseconds since 1970. */
  renewAt: number
  /** When it came, in milliseconds since 1970. 0: not known. */
  fetchedAt: number
}

/** What a caller cannot use. */
interface Refused {
  /** The token that WeChat calls stale. */
  token: string
  /** When the one came that is held: a later one counts as renewed, even if WeChat gave the same again. */
  fetchedAt: number
}

export interface AccessTokenOptions {
  redis: Redis
  leases: Pick<Leases, 'run'>
  keys: Keys
  sealer: Sealer
  apps: Apps
  wechat: WechatClient
  meters: Pick<Meters, 'accessTokenRenewal'>
  /** Longest time that one call to WeChat can take, its repetition included: a lease is longer. */
  upstreamMs: number
  /** Milliseconds since 1970. */
  now: () => number
}

/**
 * KEYS  forced, lock
 * ARGV  owner, lease (ms), now (ms), pause (ms), most a day
 *
 * 1 where the holder of the lock may force WeChat to make a new token now; its lease starts anew for that second call.
 */
const ALLOW_FORCE = defineScript(
  2,
  `
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    local last, count = unpack(redis.call('HMGET', KEYS[1], 'last', 'count'))
    if last and tonumber(ARGV[3]) - tonumber(last) < tonumber(ARGV[4]) then return 0 end
    if count and tonumber(count) >= tonumber(ARGV[5]) then return 0 end
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    redis.call('HSET', KEYS[1], 'last', ARGV[3])
    if redis.call('HINCRBY', KEYS[1], 'count', 1) == 1 then redis.call('EXPIRE', KEYS[1], 86400) end
    return 1
  `
)

export class AccessTokens {
  readonly #options: AccessTokenOptions
  readonly #lease: LeaseKind
  readonly #flight = singleFlight<AccessToken>()
  readonly #backOff: BackOff

  constructor(options: AccessTokenOptions) {
    this.#options = options
    this.#lease = {
      leaseMs: options.upstreamMs + LEASE_MARGIN_MS,
      detail: 'another instance renews the access_token and did not finish in time'
    }
    this.#backOff = new BackOff(options.now)
  }

  /**
   * A token that has not expired. In the last five minutes, or the last third, of its life it is renewed beside the
   * caller, who does not wait; but not before a second has passed since it came. `stale`: a token that WeChat has just
   * refused; its renewal waits until that second is over. Throws WECHAT_*; after a failure the same again for a second
   * or more.
   */
  async get(appid: string, stale?: string): Promise<AccessToken> {
    const held = await this.#stored(appid)
    const refused = stale === undefined ? undefined : { token: stale, fetchedAt: held?.fetchedAt ?? 0 }
    const isUsable = this.#isUsable(held, refused)
    if (isUsable && !this.#isDue(held)) return held
    const renewal = this.#flight(`${appid} ${stale ?? ''}`, () => this.#renew(appid, refused))
    if (!isUsable) return renewal
    renewal.catch(() => {
      // Nobody has to know while the old token lives; the next caller starts the next attempt.
    })
    return held
  }

  /**
   * A JSON call with a managed token, repeated once with a newer one where WeChat calls the first stale. `beside` runs
   * while the token is read; the call is made when both are done.
   */
  post(
    call: UpstreamCall,
    appid: string,
    path: string,
    body: object,
    beside?: () => Promise<void>
  ): Promise<WechatAnswer> {
    const { wechat } = this.#options
    return this.#withToken(appid, (token) => wechat.postAs(call, { appid, token }, path, body), beside)
  }

  /** The same by GET. */
  query(call: UpstreamCall, appid: string, path: string, query: Record<string, string>): Promise<WechatAnswer> {
    const { wechat } = this.#options
    return this.#withToken(appid, (token) => wechat.get(call, path, { access_token: token, ...query }))
  }

  async #withToken(
    appid: string,
    send: (token: string) => Promise<WechatAnswer>,
    beside?: () => Promise<void>
  ): Promise<WechatAnswer> {
    const [{ token }] = await Promise.all([this.get(appid), beside?.()])
    try {
      return await send(token)
    } catch (error) {
      const errcode = error instanceof ServiceError ? error.wechat?.errcode : undefined
      if (errcode === undefined || !STALE_TOKEN_ERRCODES.has(errcode)) throw error
      return send((await this.get(appid, token)).token)
    }
  }

  async #stored(appid: string): Promise<HeldToken | undefined> {
    const { redis, keys, sealer } = this.#options
    const key = keys.accessToken(appid)
    const sealed = await unlessWrongType(redis.getBuffer(key), () => null)
    const opened = sealed && sealer.open(sealed, key)
    return opened ? readHeld(opened.toString()) : undefined
  }

  #isUsable(held: HeldToken | undefined, refused: Refused | undefined): held is HeldToken {
    const isAlive = held !== undefined && held.expiresAt > this.#options.now()
    return isAlive && (held.token !== refused?.token || held.fetchedAt > refused.fetchedAt)
  }

  #isDue({ renewAt }: HeldToken): boolean {
    return this.#options.now() >= renewAt
  }

  /** The holder of the lease asks WeChat; the others wait for its token, or go on with one that still lives. */
  async #renew(appid: string, refused: Refused | undefined): Promise<AccessToken> {
    const { leases, keys } = this.#options
    if (refused !== undefined) await this.#rest(refused)
    return leases.run<AccessToken>(keys.accessTokenLock(appid), this.#lease, {
      hold: async (lease) => {
        const held = await this.#stored(appid)
        if (!this.#isUsable(held, refused) || this.#isDue(held)) return this.#renewWith(lease, appid, refused?.token)
        lease.release()
        return held
      },
      wait: async () => {
        const held = await this.#stored(appid)
        return this.#isUsable(held, refused) ? held : undefined
      }
    })
  }

  /** Until a second has passed since the token came that is held: WeChat may call stale whatever it gives. */
  async #rest({ fetchedAt }: Refused): Promise<void> {
    const restMs = fetchedAt + SHORTEST_REST_MS - this.#options.now()
    if (restMs > 0) await pause(Math.min(restMs, SHORTEST_REST_MS))
  }

  async #renewWith(lease: Lease, appid: string, stale: string | undefined): Promise<AccessToken> {
    const { keys, sealer, now } = this.#options
    let fresh = await this.#ask(appid, false)
    if (fresh.token === stale && (await this.#mayForce(lease, appid))) fresh = await this.#ask(appid, true)
    const key = keys.accessToken(appid)
    const lifeMs = Math.max(fresh.expiresAt - now(), 1)
    const value = sealer.seal(Buffer.from(writeHeld(fresh)), key)
    return (await lease.settle({ key, value, lifeMs })) ? fresh : ((await this.#stored(appid)) ?? fresh)
  }

  async #mayForce({ key, owner, leaseMs }: Lease, appid: string): Promise<boolean> {
    const { redis, keys, now } = this.#options
    const args = [owner, leaseMs, now(), FORCE_PAUSE_MS, FORCED_A_DAY]
    return (await runScript(redis, ALLOW_FORCE, [keys.accessTokenForced(appid), key], args)) === 1
  }

  /** A wrong secret is refused for ever, so the next call waits; until then the failure is the answer. */
  #ask(appid: string, force: boolean): Promise<HeldToken> {
    const ask = () => this.#askWechat(appid, force)
    const { meters } = this.#options
    return this.#backOff.run(appid, () => observed(ask, (outcome) => meters.accessTokenRenewal(appid, outcome)))
  }

  async #askWechat(appid: string, force: boolean): Promise<HeldToken> {
    const { apps, wechat, now } = this.#options
    const { secret } = apps.pick(appid)
    const body = { grant_type: 'client_credential', appid, secret, force_refresh: force || undefined }
    return readToken(await wechat.post('token', '/cgi-bin/stable_token', {}, body), now())
  }
}

function readToken({ access_token, expires_in }: WechatAnswer, nowMs: number): HeldToken {
  const seconds = Math.floor(Math.min(Number(expires_in), LONGEST_LIFE_SECONDS))
  if (typeof access_token !== 'string' || !/^\S+$/.test(access_token) || !(seconds > 0)) {
    throw new ServiceError('WECHAT_BAD_RESPONSE', {
      detail: 'stable_token answered without access_token and expires_in'
    })
  }
  const lifeMs = seconds * 1000
  const restMs = Math.max(lifeMs - Math.min(RENEW_AHEAD_MS, lifeMs * RENEW_AHEAD_PART), SHORTEST_REST_MS)
  return { token: access_token, expiresAt: nowMs + lifeMs, renewAt: nowMs + restMs, fetchedAt: nowMs }
}

/** The last two parts are new: older versions read those before. */
const writeHeld = ({ expiresAt, token, renewAt, fetchedAt }: HeldToken): string =>
  `${expiresAt} ${token} ${renewAt} ${fetchedAt}`

function readHeld(text: string): HeldToken {
  const [expiresAt = '', token = '', renewAt, fetchedAt = 0] = text.split(' ')
  const endsAt = Number(expiresAt)
  const dueAt = renewAt === undefined ? endsAt - RENEW_AHEAD_MS : Number(renewAt)
  return { token, expiresAt: endsAt, renewAt: dueAt, fetchedAt: Number(fetchedAt) }
}
