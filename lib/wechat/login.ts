/** Login: a wx.login code becomes a session, by exactly one call to WeChat for each code, on however many instances it arrives. */
import { hash, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import { type Meters, observed } from '../metrics/meters.ts'
import type { Keys } from '../redis/keys.ts'
import { defineScript, runScript } from '../redis/script.ts'
import { unlessWrongType } from '../redis/wrong-type.ts'
import { decodeSessionKey } from '../sessions/session-keys.ts'
import type { Session, SessionId, SessionStore } from '../sessions/store.ts'
import type { App } from '../settings.ts'
import { singleFlight } from '../single-flight.ts'
import type { Apps } from './apps.ts'
import type { WechatClient } from './client.ts'

/** The same code within this time gets the same session: double taps, retries after a lost answer. */
const SAME_CODE_MS = 10_000
/** What an exchange needs of Redis beside WeChat's time; a claim outlives its exchange by no more. */
const LEASE_MARGIN_MS = 1000
const POLL_MS = 50

export interface LoginRequest {
  code: string
  appid?: string
}

export interface Logins {
  /**
   * Exchanges a code from wx.login (mini-program.md 1.1). Throws APP_UNKNOWN, CODE_INVALID, CODE_USED, USER_BLOCKED and the
   * WECHAT_* codes; a code that may have reached WeChat is never sent again.
   */
  exchange(request: LoginRequest): Promise<Session>
}

export interface LoginOptions {
  redis: Redis
  keys: Keys
  sessions: SessionStore
  apps: Apps
  wechat: WechatClient
  meters: Pick<Meters, 'login'>
  /** Longest time that one exchange with WeChat can take, its repetition after -1 included. */
  upstreamMs: number
}

interface Identity {
  openid: string
  unionid?: string
  sessionKey: Buffer
}

/** KEYS code · ARGV what it holds, result or '', its life (ms): leaves or removes something only where nobody else came between. */
const SETTLE_CODE = defineScript(
  1,
  `
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1
  `
)

const CLAIM = 'claim:'

export function createLogins({ redis, keys, sessions, apps, wechat, meters, upstreamMs }: LoginOptions): Logins {
  const flight = singleFlight<Session>()
  const leaseMs = upstreamMs + LEASE_MARGIN_MS

  /**
   * One round trip claims the code, WeChat is asked, one more writes the session; two are waited for. Where another
   * instance holds the claim we wait for its result, or until it failed or its lease ended, and then ask WeChat ourselves.
   * Two leases are waited for: one holder may have died, and who comes after it takes its time too.
   */
  async function exchangeOnce(app: App, code: string): Promise<Session> {
    const place = keys.loginCode(app.appid, hash('sha256', code, 'base64url'))
    const owner = `${CLAIM}${randomUUID()}`
    const giveUpAt = performance.now() + 2 * leaseMs
    while (performance.now() < giveUpAt) {
      const found = await unlessWrongType(redis.set(place, owner, 'PX', leaseMs, 'NX', 'GET'), () => '')
      if (found === null) return askWechat(app, code, place, owner)
      if (found.startsWith(CLAIM)) {
        await pause(POLL_MS)
        continue
      }
      const result = parseResult(app.appid, found)
      const session = result && (await sessions.find(result))
      if (session !== undefined) return session
      if (result === undefined) await redis.del(place)
      else settle(place, found, '')
    }
    throw new ServiceError('WECHAT_TIMEOUT', {
      detail: 'another instance claimed this code and did not finish in time'
    })
  }

  /** Nobody waits for it: who comes in between finds the claim and looks again. With Redis away the claim ends by itself. */
  function settle(place: string, held: string, result: string): void {
    runScript(redis, SETTLE_CODE, [place], [held, result, SAME_CODE_MS]).catch(() => {
      // The login stands or failed by itself; only a second tap would wait for the lease, and be refused by WeChat.
    })
  }

  async function askWechat(app: App, code: string, place: string, owner: string): Promise<Session> {
    try {
      const identity = await codeToSession(wechat, app, code)
      const session = await sessions.open({ appid: app.appid, ...identity })
      settle(place, owner, `${session.sid} ${session.openid}`)
      return session
    } catch (error) {
      settle(place, owner, '')
      throw error
    }
  }

  async function exchange({ code, appid }: LoginRequest): Promise<Session> {
    const app = apps.pick(appid)
    return flight(`${app.appid} ${code}`, () => exchangeOnce(app, code))
  }

  return {
    exchange: (request) =>
      observed(
        () => exchange(request),
        (outcome) => meters.login(request.appid ?? apps.only?.appid, outcome)
      )
  }
}

/** undefined where it is damaged. */
function parseResult(appid: string, result: string): SessionId | undefined {
  const [sid = '', openid = ''] = result.split(' ')
  return ID.test(sid) && ID.test(openid) ? { appid, openid, sid } : undefined
}

/** Of openids and unionids: what may stand in a header, in a key, and in our schemas. */
const ID = /^[\w-]{1,128}$/

async function codeToSession(wechat: WechatClient, { appid, secret }: App, code: string): Promise<Identity> {
  const query = { appid, secret, js_code: code, grant_type: 'authorization_code' }
  const { openid, session_key, unionid } = await wechat.get('login', '/sns/jscode2session', query)
  const sessionKey = typeof session_key === 'string' ? decodeSessionKey(session_key) : undefined
  if (typeof openid !== 'string' || !ID.test(openid) || sessionKey === undefined) {
    throw new ServiceError('WECHAT_BAD_RESPONSE', {
      detail: 'jscode2session answered without a usable openid and session_key'
    })
  }
  return { openid, sessionKey, ...(typeof unionid === 'string' && ID.test(unionid) && { unionid }) }
}
