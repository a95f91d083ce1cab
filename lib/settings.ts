/** The settings of one wxgate process: typed, checked and frozen before anything else exists. */

import { readFileSync } from 'node:fs'
import { readApiKeys } from './settings/api-keys.ts'
import { loadEnvironment } from './settings/environment.ts'
import { Issues } from './settings/issues.ts'
import { readEncryptionKeys, readJwtKeys } from './settings/keys.ts'
import type { ReadFile, Receiver, Roles, Settings, Variables } from './settings/model.ts'
import { preferLowerCase, readProxySettings } from './settings/proxy.ts'
import { checkDistinct, readEach, readOne } from './settings/reader.ts'
import type { Environment } from './settings/schema.ts'
import { readOrigin, readProxy, readRedisUrl, readRole, readWebhookSecret, readWebhookUrl } from './settings/text.ts'
import { readWechat } from './settings/wechat.ts'

/**
 * Reads every setting out of `env`, files named by `NAME_FILE` and `WECHAT_CONFIG_FILE` included.
 * Throws one SettingsError that names all issues and shows no value. The result is frozen throughout, Buffers excepted.
 */
export function readSettings(env: Variables, { readFile = readText }: { readFile?: ReadFile } = {}): Settings {
  const issues = new Issues()
  const environment = loadEnvironment(preferLowerCase(env), readFile, issues)
  const values = readValues(environment, readFile, issues)
  issues.throwIfAny()
  return deepFreeze(branchesOf(environment, values))
}

/**
 * For settings that the contract allows and this version does not support yet: they stop the start. Throws
 * SettingsError.
 */
export function refuseUnsupported({ redis }: Settings): void {
  const issues = new Issues()
  if (/^redis\+/.test(redis.url))
    issues.add('REDIS_URL', 'names Sentinel or Cluster, which this version does not serve')
  issues.throwIfAny()
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

/** What needs more than a look at the schema, in the order in which issues are told. */
function readValues(env: Environment, readFile: ReadFile, issues: Issues) {
  return {
    publicUrl: readOne(issues, 'PUBLIC_URL', env.PUBLIC_URL, readOrigin),
    trustProxy: readEach(issues, 'TRUST_PROXY', env.TRUST_PROXY, readProxy),
    redisUrl: readOne(issues, 'REDIS_URL', env.REDIS_URL, readRedisUrl),
    encryptionKeys: readEncryptionKeys(env.ENCRYPTION_KEYS, issues),
    jwtKeys: readJwtKeys(env, issues),
    ...readWechat(env, readFile, issues),
    apiOrigins: readEach(issues, 'WECHAT_API_ORIGIN', env.WECHAT_API_ORIGIN, readOrigin),
    payOrigins: readEach(issues, 'WECHAT_PAY_ORIGIN', env.WECHAT_PAY_ORIGIN, readOrigin),
    proxy: readProxySettings(env, issues),
    webhook: readReceiver(env, issues),
    internalApiKeys: readApiKeys(env.INTERNAL_API_KEYS, issues),
    roles: readRoles(env, issues)
  }
}

function branchesOf(env: Environment, values: ReturnType<typeof readValues>): Settings {
  const { publicUrl, roles, apps, merchants, proxy } = values
  const { worker } = roles
  const timeoutMs = env.WECHAT_TIMEOUT_MS
  const sessionMaxAgeSeconds = env.SESSION_MAX_AGE
  return {
    server: { host: env.HOST, port: env.PORT, logLevel: env.LOG_LEVEL, trustProxy: values.trustProxy },
    roles,
    meters: { appids: apps.map(({ appid }) => appid) },
    redis: { url: values.redisUrl, prefix: env.REDIS_PREFIX },
    sessions: {
      encryptionKeys: values.encryptionKeys,
      refreshTtlSeconds: env.REFRESH_TTL,
      sessionKeyTtlSeconds: env.SESSION_KEY_TTL,
      sessionMaxAgeSeconds
    },
    rateLimit: { perMinute: env.RATE_LIMIT },
    tokens: { jwtKeys: values.jwtKeys, issuer: publicUrl, tokenTtlSeconds: env.TOKEN_TTL, sessionMaxAgeSeconds },
    auth: { internalApiKeys: values.internalApiKeys },
    docs: { enabled: env.DOCS === 'on', publicUrl },
    wechat: { apps, origins: values.apiOrigins, timeoutMs, proxy, watermarkMaxAgeSeconds: env.WATERMARK_MAX_AGE },
    events: {
      webhook: values.webhook,
      proxy,
      concurrency: env.DELIVERY_CONCURRENCY,
      worker,
      durability: env.EVENT_DURABILITY
    },
    pay: {
      merchants,
      origins: values.payOrigins,
      timeoutMs,
      proxy,
      publicUrl,
      reconcile: { enabled: env.RECONCILE === 'on', firstMs: env.RECONCILE_FIRST_MS },
      worker
    }
  }
}

/** A secret without a URL is no fault: taking the URL away is how webhooks are switched off for a while. */
function readReceiver({ WEBHOOK_URL, WEBHOOK_SECRET }: Environment, issues: Issues): Receiver | undefined {
  if (WEBHOOK_URL !== undefined && WEBHOOK_SECRET === undefined) {
    issues.add('WEBHOOK_SECRET', 'is required with WEBHOOK_URL')
  }
  const url = WEBHOOK_URL === undefined ? undefined : readOne(issues, 'WEBHOOK_URL', WEBHOOK_URL, readWebhookUrl)
  const secrets = readEach(issues, 'WEBHOOK_SECRET', WEBHOOK_SECRET, readWebhookSecret)
  return url === undefined ? undefined : { url, secrets }
}

function readRoles(env: Environment, issues: Issues): Roles {
  const roles = readEach(issues, 'ROLES', env.ROLES, readRole)
  checkDistinct(issues, 'ROLES', roles, 'role')
  return { api: roles.includes('api'), worker: roles.includes('worker') }
}

/** Freezes what is reachable, in place. Buffers stay as they are: JavaScript cannot freeze their bytes. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
