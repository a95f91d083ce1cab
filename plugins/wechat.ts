/** `app.wechat`: the configured mini-programs, and what WeChat's platform API does for them and their users. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { ProxySettings } from '../lib/http/proxy.ts'
import { Upstream } from '../lib/http/upstream.ts'
import { FailedTries } from '../lib/limits/failed-tries.ts'
import { Leases } from '../lib/redis/lease.ts'
import { Once } from '../lib/redis/once.ts'
import type { User } from '../lib/sessions/model.ts'
import { RefreshTokens } from '../lib/sessions/refresh-tokens.ts'
import type { App } from '../lib/settings/model.ts'
import { AccessTokens } from '../lib/wechat/access-token.ts'
import { ProtectedCalls } from '../lib/wechat/api-security/calls.ts'
import { Apps } from '../lib/wechat/apps.ts'
import { WechatClient } from '../lib/wechat/client.ts'
import { Logins } from '../lib/wechat/login.ts'
import { Passthrough } from '../lib/wechat/passthrough.ts'
import { PhoneCodes } from '../lib/wechat/phone-codes.ts'
import { SessionKeyCalls } from '../lib/wechat/session-key-calls.ts'
import { UserData } from '../lib/wechat/user-data.ts'
import { checkWatermark, type Watermark } from '../lib/wechat/watermark.ts'

/** WeChat asks to try again "shortly" after -1. */
const BUSY_PAUSE_MS = 1000
/** What an exchange of a code needs of Redis beside WeChat's time. */
const REDIS_MARGIN_MS = 1000
/** The same code within this time gets the same answer. */
const SAME_CODE_MS = 10_000

export interface WechatOptions {
  apps: readonly App[]
  origins: readonly string[]
  timeoutMs: number
  proxy: ProxySettings
  watermarkMaxAgeSeconds: number
  now: () => number
}

export interface Wechat {
  apps: Apps
  logins: Logins
  refreshTokens: RefreshTokens
  userData: UserData
  sessionKeys: SessionKeyCalls
  accessTokens: AccessTokens
  passthrough: Passthrough
}

declare module 'fastify' {
  interface FastifyInstance {
    wechat: Wechat
  }
}

export default fp<WechatOptions>(
  async (app: FastifyInstance, options) => {
    const { origins, timeoutMs, proxy } = options
    const upstream = new Upstream({ origins, timeoutMs, proxy })
    // Connections of its own: a backend that waits for a slow API takes none from the users who log in.
    const passing = new Upstream({ origins, timeoutMs, proxy })
    const leases = new Leases({ redis: app.redis, findTrouble: () => app.redisHealth.checkSometimes() })
    app.decorate('wechat', wechatOf(app, options, { upstream, passing, leases }))
    app.addHook('onClose', async () => {
      leases.close()
      await Promise.all([upstream.close(), passing.close()])
    })
  },
  { name: 'wechat', dependencies: ['meters', 'rate-limit', 'sessions'], fastify: '5.x' }
)

interface Means {
  upstream: Upstream
  /** For the calls that are passed on. */
  passing: Upstream
  leases: Leases
}

function wechatOf(app: FastifyInstance, options: WechatOptions, { upstream, passing, leases }: Means): Wechat {
  const { redis, keys, sealer, meters } = app
  const { store: sessions, sessionKeys } = app.sessions
  const { timeoutMs, now } = options
  const apps = new Apps(options.apps)
  const protectedCalls = new ProtectedCalls({ apps: options.apps, upstream, onCertificateEnding: warner(app), now })
  const client = new WechatClient({ upstream, protectedCalls, meters, now, busyPauseMs: BUSY_PAUSE_MS })
  const upstreamMs = 2 * timeoutMs + BUSY_PAUSE_MS
  const accessTokens = new AccessTokens({ redis, leases, keys, sealer, apps, wechat: client, meters, upstreamMs, now })
  const once = new Once({ leases, leaseMs: upstreamMs + REDIS_MARGIN_MS, keptMs: SAME_CODE_MS })
  const ofData = { checkWatermark: watermarkCheck(options), meters }
  const { countPhoneCode } = app.limits
  const phoneCodes = new PhoneCodes({ once, keys, sealer, accessTokens, countPhoneCode, ...ofData })
  const failedTries = new FailedTries({ redis, keys })
  return {
    apps,
    logins: new Logins({ once, keys, sessions, apps, wechat: client, meters }),
    refreshTokens: new RefreshTokens({ sessions, sealer, knowsApp: (appid) => apps.knows(appid), meters, now }),
    userData: new UserData({ phoneCodes, failedTries, keyRingOf: (user) => sessionKeys.ringOf(user), ...ofData }),
    sessionKeys: new SessionKeyCalls({ leases, keys, sessionKeys, accessTokens, upstreamMs }),
    accessTokens,
    passthrough: new Passthrough({ accessTokens, upstream: passing, protectedCalls, meters })
  }
}

const watermarkCheck =
  ({ watermarkMaxAgeSeconds, now }: WechatOptions) =>
  (watermark: Watermark, { appid }: User): void =>
    checkWatermark(watermark, { appid, maxAgeSeconds: watermarkMaxAgeSeconds, nowMs: now() })

const warner =
  ({ log }: FastifyInstance) =>
  (appid: string): void =>
    log.warn({ appid }, 'WeChat replaces its certificate of the API security mode; renew wechatCert and wechatSerial')
