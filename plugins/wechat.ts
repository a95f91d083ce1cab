/** WeChat's configuration and its platform API: `app.apps`, `app.logins`, `app.renewals`, `app.userData`, `app.accessTokens`. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createRenewals, type Renewals } from '../lib/sessions/renewals.ts'
import type { App } from '../lib/settings.ts'
import { type AccessTokens, createAccessTokens } from '../lib/wechat/access-token.ts'
import { type Apps, createApps } from '../lib/wechat/apps.ts'
import { createWechatClient } from '../lib/wechat/client.ts'
import { createUpstream } from '../lib/wechat/http.ts'
import { createLogins, type Logins } from '../lib/wechat/login.ts'
import { createUserData, type UserData } from '../lib/wechat/user-data.ts'

/** WeChat asks to try again "shortly" after -1. */
const BUSY_PAUSE_MS = 1000

export interface WechatOptions {
  apps: readonly App[]
  origins: readonly string[]
  timeoutMs: number
  watermarkMaxAgeSeconds: number
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    apps: Apps
    logins: Logins
    userData: UserData
    accessTokens: AccessTokens
    renewals: Renewals
  }
}

export default fp<WechatOptions>(
  async (app: FastifyInstance, { origins, timeoutMs, watermarkMaxAgeSeconds, now, ...options }) => {
    const { redis, keys, sealer, sessions } = app
    const upstream = createUpstream({ origins, timeoutMs })
    const wechat = createWechatClient({ upstream, now, busyPauseMs: BUSY_PAUSE_MS })
    const apps = createApps(options.apps)
    const upstreamMs = 2 * timeoutMs + BUSY_PAUSE_MS
    const accessTokens = createAccessTokens({ redis, keys, sealer, apps, wechat, upstreamMs, now })

    app.decorate('apps', apps)
    app.decorate('accessTokens', accessTokens)
    app.decorate('renewals', createRenewals({ sessions, sealer, knowsApp: apps.knows, now }))
    app.decorate('logins', createLogins({ redis, keys, sessions, apps, wechat, upstreamMs }))
    app.decorate('userData', createUserData({ accessTokens, watermarkMaxAgeSeconds, now }))
    app.addHook('onClose', () => upstream.close())
  },
  { name: 'wechat', dependencies: ['sessions'], fastify: '5.x' }
)
