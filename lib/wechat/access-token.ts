/**
 * The access token of each app: one for all instances and callers, held sealed in Redis, renewed by one of them
 * (mini-program.md 4).
 */
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { type Meters, observed } from '../metrics/meters.ts'
import type { Keys } from '../redis/keys.ts'
import { type Lease, Leases } from '../redis/lease.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/wrong-type.ts'
import type { Sealer } from '../sessions/seal.ts'
import { singleFlight } from '../util/single-flight.ts'
import type { Apps } from './apps.ts'
import { createBackOff } from './back-off.ts'
import type { WechatAnswer, WechatClient } from './client.ts'
import { STALE_TOKEN_ERRCODES, type UpstreamCall } from './errcodes.ts'

/** WeChat hands out the next token in the last five minutes of the old one, and honours both for that long. */
const RENEW_AHEAD_MS = 300_000
/** Of a token with a shorter life than usual its last third. */
const RENEW_AHEAD_PART = 1 / 3
/** A token that just came is not asked for again, however little life it has. */
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
}

export interface AccessTokens {
  /**
   * A token with life left in it; in the last five minutes, or the last third, of its life it is renewed beside the
   * caller, who does not wait; not before a second has passed since it came. `stale`: a token that WeChat has just
   * refused. Throws WECHAT_*; after a failure the same again for a second or more.
   */
  get(appid: string, stale?: string): Promise<AccessToken>
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
  ): Promise<WechatAnswer>
  /** The same by GET. */
  query(call: UpstreamCall, appid: string, path: string, query: Record<string, string>): Promise<WechatAnswer>
}

export interface AccessTokenOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  apps: Apps
  wechat: WechatClient
  meters: Pick<Meters, 'accessTokenRenewal'>
  /** Longest time that one call to WeChat can take, its repetition included: the lease of a lock holder is longer. */
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

export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { redis, keys, sealer, apps, wechat, meters, upstreamMs, now } = options
  const flight = singleFlight<AccessToken>()
  const backOff = createBackOff(now)
  const leases = new Leases({
    redis,
    leaseMs: upstreamMs + LEASE_MARGIN_MS,
    detail: 'another instance renews the access_token and did not finish in time'
  })

  async function stored(appid: string): Promise<HeldToken | undefined> {
    const place = keys.accessToken(appid)
    const sealed = await unlessWrongType(redis.getBuffer(place), () => null)
    const opened = sealed && sealer.open(sealed, place)
    return opened ? readHeld(opened.toString()) : undefined
  }

  const isAlive = (held: HeldToken | undefined, stale: string | undefined): held is HeldToken =>
    held !== undefined && held.token !== stale && held.expiresAt > now()

  const isDue = ({ renewAt }: HeldToken): boolean => now() >= renewAt

  /** The holder of the lease asks WeChat; the others wait for its token, or go on with one that still lives. */
  const renew = (appid: string, stale: string | undefined): Promise<AccessToken> =>
    leases.run<AccessToken>(keys.accessTokenLock(appid), {
      async hold(lease) {
        const held = await stored(appid)
        if (!isAlive(held, stale) || isDue(held)) return renewWith(lease, appid, stale)
        lease.release()
        return held
      },
      async wait() {
        const held = await stored(appid)
        return isAlive(held, stale) ? held : undefined
      }
    })

  async function renewWith(lease: Lease, appid: string, stale: string | undefined): Promise<AccessToken> {
    let fresh = await ask(appid, false)
    if (fresh.token === stale && (await mayForce(lease, appid))) fresh = await ask(appid, true)
    const key = keys.accessToken(appid)
    const lifeMs = Math.max(fresh.expiresAt - now(), 1)
    const value = sealer.seal(Buffer.from(writeHeld(fresh)), key)
    return (await lease.settle({ key, value, lifeMs })) ? fresh : ((await stored(appid)) ?? fresh)
  }

  async function mayForce({ key, owner, leaseMs }: Lease, appid: string): Promise<boolean> {
    const args = [owner, leaseMs, now(), FORCE_PAUSE_MS, FORCED_A_DAY]
    return (await runScript(redis, ALLOW_FORCE, [keys.accessTokenForced(appid), key], args)) === 1
  }

  /** A wrong secret is refused for ever: the next call waits, and until then the failure answers. */
  const ask = (appid: string, force: boolean) =>
    backOff(appid, () =>
      observed(
        () => askWechat(appid, force),
        (outcome) => meters.accessTokenRenewal(appid, outcome)
      )
    )

  async function askWechat(appid: string, force: boolean): Promise<HeldToken> {
    const { secret } = apps.pick(appid)
    const body = { grant_type: 'client_credential', appid, secret, ...(force && { force_refresh: true }) }
    const { access_token, expires_in } = await wechat.post('token', '/cgi-bin/stable_token', {}, body)
    const seconds = Math.floor(Math.min(Number(expires_in), LONGEST_LIFE_SECONDS))
    if (typeof access_token !== 'string' || !/^\S+$/.test(access_token) || !(seconds > 0)) {
      throw new ServiceError('WECHAT_BAD_RESPONSE', {
        detail: 'stable_token answered without access_token and expires_in'
      })
    }
    const lifeMs = seconds * 1000
    const restMs = Math.max(lifeMs - Math.min(RENEW_AHEAD_MS, lifeMs * RENEW_AHEAD_PART), SHORTEST_REST_MS)
    return { token: access_token, expiresAt: now() + lifeMs, renewAt: now() + restMs }
  }

  async function get(appid: string, stale?: string): Promise<AccessToken> {
    const held = await stored(appid)
    const isAliveHere = isAlive(held, stale)
    if (isAliveHere && !isDue(held)) return held
    const renewal = flight(`${appid} ${stale ?? ''}`, () => renew(appid, stale))
    if (!isAliveHere) return renewal
    renewal.catch(() => {
      // While the old token lives nobody has to know; the next caller starts the next attempt.
    })
    return held
  }

  async function withToken(
    appid: string,
    send: (token: string) => Promise<WechatAnswer>,
    beside?: () => Promise<void>
  ): Promise<WechatAnswer> {
    const [{ token }] = await Promise.all([get(appid), beside?.()])
    try {
      return await send(token)
    } catch (error) {
      const errcode = error instanceof ServiceError ? error.wechat?.errcode : undefined
      if (errcode === undefined || !STALE_TOKEN_ERRCODES.has(errcode)) throw error
      return send((await get(appid, token)).token)
    }
  }

  return {
    get,
    post: (call, appid, path, body, beside) =>
      withToken(appid, (token) => wechat.postAs(call, { appid, token }, path, body), beside),
    query: (call, appid, path, query) =>
      withToken(appid, (token) => wechat.get(call, path, { access_token: token, ...query }))
  }
}

/** What only this version writes stands last: the one before reads the first two. */
const writeHeld = ({ expiresAt, token, renewAt }: HeldToken): string => `${expiresAt} ${token} ${renewAt}`

function readHeld(text: string): HeldToken {
  const [expiresAt = '', token = '', renewAt] = text.split(' ')
  const endsAt = Number(expiresAt)
  return { token, expiresAt: endsAt, renewAt: renewAt === undefined ? endsAt - RENEW_AHEAD_MS : Number(renewAt) }
}
