/** The settings of one wxgate process: typed, checked and frozen before anything else exists. */

import { readFileSync } from 'node:fs'
import type { ProxySettings } from './http/proxy.ts'
import { type ApiKey, readApiKeys } from './settings/api-keys.ts'
import { loadEnvironment, type ReadFile, type Variables } from './settings/environment.ts'
import { Faults } from './settings/faults.ts'
import { deepFreeze } from './settings/freeze.ts'
import { readEncryptionKeys, readJwtKeys } from './settings/keys.ts'
import { preferLowerCase, readProxySettings } from './settings/proxy.ts'
import { checkDistinct, readEach, readOne } from './settings/reader.ts'
import { readRedisUrl } from './settings/redis-url.ts'
import type { Environment } from './settings/schema.ts'
import { readOrigin, readProxy, readRole, readWebhookSecret, readWebhookUrl } from './settings/text.ts'
import { readWechat } from './settings/wechat.ts'

export { type Fault, SettingsError } from './settings/faults.ts'

export interface EncryptionKey {
  id: string
  key: Buffer
}

export interface JwtKey {
  /** RFC 7638 thumbprint of the public key; for HS256 a fingerprint that tells nothing of the secret. */
  kid: string
  alg: 'HS256' | 'ES256' | 'EdDSA'
  /** PEM of the private key, or the secret itself for HS256. */
  signingKey: string
  /** PEM of the public key, or the secret itself for HS256. */
  verifyingKey: string
}

export interface ApiSecurity {
  symKey: string
  symSerial: string
  privateKey: string
  publicSerial: string
  wechatCert: string
  wechatSerial: string
}

export interface App {
  appid: string
  secret: string
  pushToken?: string
  pushAesKey?: string
  /** Absent: success. */
  pushReply?: 'success' | 'transfer_customer_service'
  apiSecurity?: ApiSecurity
}

/** With `apiV3Key` set, `certSerial` and `privateKey` are too. PEM texts have real line breaks. */
export interface Merchant {
  mchid: string
  apiV2Key?: string
  apiV3Key?: string
  /** 40 hex digits in upper case; read from `cert` where only that was given. */
  certSerial?: string
  privateKey?: string
  cert?: string
  publicKeyId?: string
  publicKey?: string
  /** The apps whose payments this merchant takes. */
  appids: readonly string[]
}

export interface Settings {
  listen: { host: string; port: number }
  logLevel: string
  /** Without a trailing slash. */
  publicUrl: string
  trustProxy: readonly string[]
  redis: { url: string; prefix: string }
  /** The first encrypts, all decrypt. */
  encryptionKeys: readonly EncryptionKey[]
  /** The first signs, all verify. */
  jwtKeys: readonly JwtKey[]
  tokenTtlSeconds: number
  refreshTtlSeconds: number
  sessionKeyTtlSeconds: number
  /** From the login on; 0: none. */
  sessionMaxAgeSeconds: number
  /** 0: age unchecked. */
  watermarkMaxAgeSeconds: number
  apps: readonly App[]
  merchants: readonly Merchant[]
  wechatApiOrigins: readonly string[]
  wechatPayOrigins: readonly string[]
  wechatTimeoutMs: number
  /** For calls to WeChat and to receivers. */
  proxy: ProxySettings
  /** Empty: /internal answers 404. */
  internalApiKeys: readonly ApiKey[]
  webhook?: { url: string; secrets: readonly string[] }
  roles: { api: boolean; worker: boolean }
  reconcile: { enabled: boolean; firstMs: number }
  eventDurability: 'redis' | 'fsync'
  /** Requests a minute for one client; 0: none. */
  rateLimitPerMinute: number
  docsEnabled: boolean
}

/**
 * Reads every setting out of `env`, files named by `NAME_FILE` and `WECHAT_CONFIG_FILE` included.
 * Throws one SettingsError that names all faults and shows no value. The result is frozen throughout, Buffers excepted.
 */
export function readSettings(env: Variables, { readFile = readText }: { readFile?: ReadFile } = {}): Settings {
  const faults = new Faults()
  const environment = loadEnvironment(preferLowerCase(env), readFile, faults)
  const settings: Settings = {
    ...readListener(environment, faults),
    ...readStores(environment, faults),
    ...readWechatSide(environment, readFile, faults),
    ...readBackend(environment, faults),
    ...readWork(environment, faults)
  }
  faults.throwIfAny()
  return deepFreeze(settings)
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

function readListener(env: Environment, faults: Faults) {
  return {
    listen: { host: env.HOST, port: env.PORT },
    logLevel: env.LOG_LEVEL,
    publicUrl: readOne(faults, 'PUBLIC_URL', env.PUBLIC_URL, readOrigin),
    trustProxy: readEach(faults, 'TRUST_PROXY', env.TRUST_PROXY, readProxy),
    rateLimitPerMinute: env.RATE_LIMIT,
    docsEnabled: env.DOCS === 'on'
  }
}

function readStores(env: Environment, faults: Faults) {
  return {
    redis: { url: readOne(faults, 'REDIS_URL', env.REDIS_URL, readRedisUrl), prefix: env.REDIS_PREFIX },
    encryptionKeys: readEncryptionKeys(env.ENCRYPTION_KEYS, faults),
    jwtKeys: readJwtKeys(env, faults),
    tokenTtlSeconds: env.TOKEN_TTL,
    refreshTtlSeconds: env.REFRESH_TTL,
    sessionKeyTtlSeconds: env.SESSION_KEY_TTL,
    sessionMaxAgeSeconds: env.SESSION_MAX_AGE,
    watermarkMaxAgeSeconds: env.WATERMARK_MAX_AGE
  }
}

function readWechatSide(env: Environment, readFile: ReadFile, faults: Faults) {
  return {
    ...readWechat(env, readFile, faults),
    wechatApiOrigins: readEach(faults, 'WECHAT_API_ORIGIN', env.WECHAT_API_ORIGIN, readOrigin),
    wechatPayOrigins: readEach(faults, 'WECHAT_PAY_ORIGIN', env.WECHAT_PAY_ORIGIN, readOrigin),
    wechatTimeoutMs: env.WECHAT_TIMEOUT_MS,
    proxy: readProxySettings(env, faults)
  }
}

/** A secret without a URL is no fault: taking the URL away is how webhooks are switched off for a while. */
function readBackend(env: Environment, faults: Faults) {
  const { WEBHOOK_URL, WEBHOOK_SECRET } = env
  if (WEBHOOK_URL !== undefined && WEBHOOK_SECRET === undefined) {
    faults.add('WEBHOOK_SECRET', 'is required with WEBHOOK_URL')
  }
  const url = WEBHOOK_URL === undefined ? undefined : readOne(faults, 'WEBHOOK_URL', WEBHOOK_URL, readWebhookUrl)
  const secrets = readEach(faults, 'WEBHOOK_SECRET', WEBHOOK_SECRET, readWebhookSecret)
  return {
    internalApiKeys: readApiKeys(env.INTERNAL_API_KEYS, faults),
    ...(url !== undefined && { webhook: { url, secrets } })
  }
}

function readWork(env: Environment, faults: Faults) {
  const roles = readEach(faults, 'ROLES', env.ROLES, readRole)
  checkDistinct(faults, 'ROLES', roles, 'role')
  return {
    roles: { api: roles.includes('api'), worker: roles.includes('worker') },
    reconcile: { enabled: env.RECONCILE === 'on', firstMs: env.RECONCILE_FIRST_MS },
    eventDurability: env.EVENT_DURABILITY
  }
}
