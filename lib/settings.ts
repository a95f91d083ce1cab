/** The settings of one wxgate process: typed, checked and frozen before anything else exists. */

import { readFileSync } from 'node:fs'
import { readApiKeys } from './settings/api-keys.ts'
import { loadEnvironment } from './settings/environment.ts'
import { deepFreeze } from './settings/freeze.ts'
import { Issues } from './settings/issues.ts'
import { readEncryptionKeys, readJwtKeys } from './settings/keys.ts'
import type { ReadFile, Settings, Variables } from './settings/model.ts'
import { preferLowerCase, readProxySettings } from './settings/proxy.ts'
import { checkDistinct, readEach, readOne } from './settings/reader.ts'
import { readRedisUrl } from './settings/redis-url.ts'
import type { Environment } from './settings/schema.ts'
import { readOrigin, readProxy, readRole, readWebhookSecret, readWebhookUrl } from './settings/text.ts'
import { readWechat } from './settings/wechat.ts'

/**
 * Reads every setting out of `env`, files named by `NAME_FILE` and `WECHAT_CONFIG_FILE` included.
 * Throws one SettingsError that names all issues and shows no value. The result is frozen throughout, Buffers excepted.
 */
export function readSettings(env: Variables, { readFile = readText }: { readFile?: ReadFile } = {}): Settings {
  const issues = new Issues()
  const environment = loadEnvironment(preferLowerCase(env), readFile, issues)
  const settings: Settings = {
    ...readListener(environment, issues),
    ...readStores(environment, issues),
    ...readWechatSide(environment, readFile, issues),
    ...readBackend(environment, issues),
    ...readWork(environment, issues)
  }
  issues.throwIfAny()
  return deepFreeze(settings)
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

function readListener(env: Environment, issues: Issues) {
  return {
    listen: { host: env.HOST, port: env.PORT },
    logLevel: env.LOG_LEVEL,
    publicUrl: readOne(issues, 'PUBLIC_URL', env.PUBLIC_URL, readOrigin),
    trustProxy: readEach(issues, 'TRUST_PROXY', env.TRUST_PROXY, readProxy),
    rateLimitPerMinute: env.RATE_LIMIT,
    docsEnabled: env.DOCS === 'on'
  }
}

function readStores(env: Environment, issues: Issues) {
  return {
    redis: { url: readOne(issues, 'REDIS_URL', env.REDIS_URL, readRedisUrl), prefix: env.REDIS_PREFIX },
    encryptionKeys: readEncryptionKeys(env.ENCRYPTION_KEYS, issues),
    jwtKeys: readJwtKeys(env, issues),
    tokenTtlSeconds: env.TOKEN_TTL,
    refreshTtlSeconds: env.REFRESH_TTL,
    sessionKeyTtlSeconds: env.SESSION_KEY_TTL,
    sessionMaxAgeSeconds: env.SESSION_MAX_AGE,
    watermarkMaxAgeSeconds: env.WATERMARK_MAX_AGE
  }
}

function readWechatSide(env: Environment, readFile: ReadFile, issues: Issues) {
  return {
    ...readWechat(env, readFile, issues),
    wechatApiOrigins: readEach(issues, 'WECHAT_API_ORIGIN', env.WECHAT_API_ORIGIN, readOrigin),
    wechatPayOrigins: readEach(issues, 'WECHAT_PAY_ORIGIN', env.WECHAT_PAY_ORIGIN, readOrigin),
    wechatTimeoutMs: env.WECHAT_TIMEOUT_MS,
    proxy: readProxySettings(env, issues)
  }
}

/** A secret without a URL is no fault: taking the URL away is how webhooks are switched off for a while. */
function readBackend(env: Environment, issues: Issues) {
  const { WEBHOOK_URL, WEBHOOK_SECRET } = env
  if (WEBHOOK_URL !== undefined && WEBHOOK_SECRET === undefined) {
    issues.add('WEBHOOK_SECRET', 'is required with WEBHOOK_URL')
  }
  const url = WEBHOOK_URL === undefined ? undefined : readOne(issues, 'WEBHOOK_URL', WEBHOOK_URL, readWebhookUrl)
  const secrets = readEach(issues, 'WEBHOOK_SECRET', WEBHOOK_SECRET, readWebhookSecret)
  return {
    internalApiKeys: readApiKeys(env.INTERNAL_API_KEYS, issues),
    ...(url !== undefined && { webhook: { url, secrets } })
  }
}

function readWork(env: Environment, issues: Issues) {
  const roles = readEach(issues, 'ROLES', env.ROLES, readRole)
  checkDistinct(issues, 'ROLES', roles, 'role')
  return {
    roles: { api: roles.includes('api'), worker: roles.includes('worker') },
    reconcile: { enabled: env.RECONCILE === 'on', firstMs: env.RECONCILE_FIRST_MS },
    eventDurability: env.EVENT_DURABILITY
  }
}
