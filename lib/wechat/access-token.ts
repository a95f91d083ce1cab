/** The access token of each app: one for all instances and callers, held sealed in Redis, renewed by one of them (mini-program.md 4). */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import { runScript, type Script } from '../redis/script.ts'
import type { Sealer } from '../sessions/seal.ts'
import { singleFlight } from '../single-flight.ts'
import type { Apps } from './apps.ts'
import type { WechatAnswer, WechatClient } from './client.ts'
import { STALE_TOKEN_ERRCODES, type UpstreamCall } from './errcodes.ts'

/** WeChat hands out the next token in the last five minutes of the old one, and honours both for that long. */
const RENEW_AHEAD_MS = 300_000
const POLL_MS = 50
const FORCE_PAUSE_MS = 30_000
/** WeChat allows 20 a day; the rest is left to the operator. */
const FORCED_A_DAY = 15

export interface AccessToken {
  token: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

export interface AccessTokens {
  /** A token with life left in it. `stale`: a token that WeChat has just refused. Throws WECHAT_*. */
  get(appid: string, stale?: string): Promise<AccessToken>
  /** A JSON call with a managed token, repeated once with a newer one where WeChat calls the first stale. */
  post(call: UpstreamCall, appid: string, path: string, body: object): Promise<WechatAnswer>
}

export interface AccessTokenOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
  apps: Apps
  wechat: WechatClient
  /** Longest time that one call to WeChat can take, its repetition included: a holder of the lock is never outrun by its lease. */
  upstreamMs: number
  /** Milliseconds since 1970. */
  now: () => number
}

/** KEYS token, lock · ARGV owner, sealed token or '', its life (ms): only the holder of the lock writes, and gives it back. */
const SETTLE_TOKEN: Script = {
  name: 'wxgateSettleToken',
  numberOfKeys: 2,
  lua: `
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
    return redis.call('DEL', KEYS[2])
  `
}

/** KEYS forced · ARGV now (ms), pause (ms), most a day: 1 where WeChat may be forced to make a new token now. */
const ALLOW_FORCE: Script = {
  name: 'wxgateAllowForce',
  numberOfKeys: 1,
  lua: `
    local last, count = unpack(redis.call('HMGET', KEYS[1], 'last', 'count'))
    if last and tonumber(ARGV[1]) - tonumber(last) < tonumber(ARGV[2]) then return 0 end
    if count and tonumber(count) >= tonumber(ARGV[3]) then return 0 end
    redis.call('HSET', KEYS[1], 'last', ARGV[1])
    if redis.call('HINCRBY', KEYS[1], 'count', 1) == 1 then redis.call('EXPIRE', KEYS[1], 86400) end
    return 1
  `
}

export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { redis, keys, sealer, apps, wechat, upstreamMs, now } = options
  const flight = singleFlight<AccessToken>()

  async function stored(appid: string): Promise<AccessToken | undefined> {
    const place = keys.accessToken(appid)
    const sealed = await redis.getBuffer(place)
    const opened = sealed && sealer.open(sealed, place)
    if (!opened) return undefined
    const [expiresAt = '', token = ''] = opened.toString().split(' ')
    return { token, expiresAt: Number(expiresAt) }
  }

  const usable = (held: AccessToken | undefined, stale: string | undefined, leftMs: number): held is AccessToken =>
    held !== undefined && held.token !== stale && held.expiresAt - now() > leftMs

  /** The winner of the lock asks WeChat; the others wait for what it stores, or go on with a token that still lives. */
  async function renew(appid: string, stale: string | undefined): Promise<AccessToken> {
    const owner = randomUUID()
    const giveUpAt = performance.now() + upstreamMs
    while (performance.now() < giveUpAt) {
      const won = await redis.set(keys.accessTokenLock(appid), owner, 'PX', upstreamMs + 1000, 'NX')
      const held = await stored(appid)
      if (won !== null)
        return usable(held, stale, RENEW_AHEAD_MS) ? release(appid, owner, held) : renewLocked(appid, owner, stale)
      if (usable(held, stale, 0)) return held
      await pause(POLL_MS)
    }
    throw new ServiceError('WECHAT_TIMEOUT', {
      detail: 'another instance renews the access_token and did not finish in time'
    })
  }

  async function renewLocked(appid: string, owner: string, stale: string | undefined): Promise<AccessToken> {
    try {
      let fresh = await ask(appid, false)
      if (fresh.token === stale && (await mayForce(appid))) fresh = await ask(appid, true)
      const place = keys.accessToken(appid)
      const lifeMs = Math.max(fresh.expiresAt - now(), 1)
      const sealed = sealer.seal(Buffer.from(`${fresh.expiresAt} ${fresh.token}`), place)
      const written = await runScript(
        redis,
        SETTLE_TOKEN,
        [place, keys.accessTokenLock(appid)],
        [owner, sealed, lifeMs]
      )
      return written === 1 ? fresh : ((await stored(appid)) ?? fresh)
    } catch (error) {
      await runScript(
        redis,
        SETTLE_TOKEN,
        [keys.accessToken(appid), keys.accessTokenLock(appid)],
        [owner, '', 0]
      ).catch(() => {
        // The lease ends by itself.
      })
      throw error
    }
  }

  async function release(appid: string, owner: string, held: AccessToken): Promise<AccessToken> {
    await runScript(redis, SETTLE_TOKEN, [keys.accessToken(appid), keys.accessTokenLock(appid)], [owner, '', 0])
    return held
  }

  const mayForce = async (appid: string) =>
    (await runScript(redis, ALLOW_FORCE, [keys.accessTokenForced(appid)], [now(), FORCE_PAUSE_MS, FORCED_A_DAY])) === 1

  async function ask(appid: string, force: boolean): Promise<AccessToken> {
    const { secret } = apps.pick(appid)
    const body = { grant_type: 'client_credential', appid, secret, ...(force && { force_refresh: true }) }
    const { access_token, expires_in } = await wechat.post('token', '/cgi-bin/stable_token', {}, body)
    if (typeof access_token !== 'string' || typeof expires_in !== 'number') {
      throw new ServiceError('WECHAT_BAD_RESPONSE', {
        detail: 'stable_token answered without access_token and expires_in'
      })
    }
    return { token: access_token, expiresAt: now() + expires_in * 1000 }
  }

  async function get(appid: string, stale?: string): Promise<AccessToken> {
    const held = await stored(appid)
    return usable(held, stale, RENEW_AHEAD_MS) ? held : flight(`${appid} ${stale ?? ''}`, () => renew(appid, stale))
  }

  return {
    get,
    async post(call, appid, path, body) {
      const send = (token: string) => wechat.post(call, path, { access_token: token }, body)
      const { token } = await get(appid)
      try {
        return await send(token)
      } catch (error) {
        const errcode = error instanceof ServiceError ? error.wechat?.errcode : undefined
        if (errcode === undefined || !STALE_TOKEN_ERRCODES.has(errcode)) throw error
        return send((await get(appid, token)).token)
      }
    }
  }
}
