/** The settings as everything else knows them, and what they are read from. */
import type { EncryptionKey } from '../crypto/seal.ts'
import type { ProxySettings } from '../http/proxy.ts'
import type { ApiKey } from './api-keys.ts'

export type Variables = Readonly<Record<string, string | undefined>>

/** Reads a text file; throws as `node:fs` does. */
export type ReadFile = (path: string) => string

export interface JwtKey {
  /** RFC 7638 thumbprint of the public key; for HS256 a fingerprint that tells nothing of the secret. */
  kid: string
  alg: 'HS256' | 'ES256' | 'EdDSA'
  /** PEM of the private key, or the secret itself for HS256. */
  signingKey: string
  /** PEM of the public key, or the secret itself for HS256. */
  verifyingKey: string
}

export interface ApiSecuritySettings {
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
  apiSecurity?: ApiSecuritySettings
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
