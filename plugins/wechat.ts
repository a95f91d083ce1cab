/**
 * WeChat's configuration and its platform API: `app.apps`, `app.logins`, `app.renewals`, `app.userData`,
 * `app.sessionKeys`, `app.accessTokens`, `app.passthrough`.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { ProxySettings } from '../lib/http/proxy.ts'
import { Upstream } from '../lib/http/upstream.ts'
import { createFailedTries } from '../lib/limits/failed-tries.ts'
import { Once } from '../lib/redis/once.ts'
import { createRenewals, type Renewals } from '../lib/sessions/renewals.ts'
import type { User } from '../lib/sessions/store.ts'
import type { App } from '../lib/settings.ts'
import { type AccessTokens, createAccessTokens } from '../lib/wechat/access-token.ts'
import { createApiSecurity } from '../lib/wechat/api-security/calls.ts'
import { type Apps, createApps } from '../lib/wechat/apps.ts'
import { createWechatClient } from '../lib/wechat/client.ts'
import { createLogins, type Logins } from '../lib/wechat/login.ts'
import { createPassthrough, type Passthrough } from '../lib/wechat/passthrough.ts'
import { createPhoneCodes } from '../lib/wechat/phone-codes.ts'
import { createSessionKeyCalls, type SessionKeyCalls } from '../lib/wechat/session-key-calls.ts'
import { createUserData, type UserData } from '../lib/wechat/user-data.ts'
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

declare module 'fastify' {
  interface FastifyInstance {
    apps: Apps
    logins: Logins
    userData: UserData
    sessionKeys: SessionKeyCalls
    accessTokens: AccessTokens
    passthrough: Passthrough
    renewals: Renewals
  }
}

export default fp<WechatOptions>(
  async (app: FastifyInstance, { origins, timeoutMs, proxy, watermarkMaxAgeSeconds, now, ...options }) => {
    const { redis, keys, sealer, sessions, heldKeys, meters } = app
    const { countPhoneCode } = app.limits
    const upstream = new Upstream({ origins, timeoutMs, proxy })
    // Connections of its own: a backend that waits for a slow API takes none from the users who log in.
    const passing = new Upstream({ origins, timeoutMs, proxy })
    const onCertificateEnding = (appid: string) =>
      app.log.warn(
        { appid },
        'WeChat replaces its certificate of the API security mode; renew wechatCert and wechatSerial'
      )
    const apiSecurity = createApiSecurity({ apps: options.apps, upstream, onCertificateEnding, now })
    const wechat = createWechatClient({ upstream, apiSecurity, meters, now, busyPauseMs: BUSY_PAUSE_MS })
    const apps = createApps(options.apps)
    const upstreamMs = 2 * timeoutMs + BUSY_PAUSE_MS
    const accessTokens = createAccessTokens({ redis, keys, sealer, apps, wechat, meters, upstreamMs, now })

    app.decorate('apps', apps)
    app.decorate('accessTokens', accessTokens)
    app.decorate('passthrough', createPassthrough({ accessTokens, upstream: passing, apiSecurity, meters }))
    app.decorate('renewals', createRenewals({ sessions, sealer, knowsApp: apps.knows, meters, now }))
    const once = new Once({ redis, leaseMs: upstreamMs + REDIS_MARGIN_MS, keptMs: SAME_CODE_MS })
    app.decorate('logins', createLogins({ once, keys, sessions, apps, wechat, meters }))
    app.decorate('sessionKeys', createSessionKeyCalls({ redis, keys, heldKeys, accessTokens, upstreamMs }))
    const checkOf = (watermark: Watermark, { appid }: User) =>
      checkWatermark(watermark, { appid, maxAgeSeconds: watermarkMaxAgeSeconds, nowMs: now() })
    const ofData = { checkWatermark: checkOf, countPhoneCode, keyRingOf: heldKeys.all, meters }
    const phoneCodes = createPhoneCodes({ once, keys, sealer, accessTokens, ...ofData })
    app.decorate('userData', createUserData({ phoneCodes, failedTries: createFailedTries({ redis, keys }), ...ofData }))
    app.addHook('onClose', async () => void (await Promise.all([upstream.close(), passing.close()])))
  },
  { name: 'wechat', dependencies: ['meters', 'rate-limit', 'sessions'], fastify: '5.x' }
)
