/** The settings as everything else knows them, and what they are read from. */
import type { EncryptionKey } from '../crypto/seal.ts'
import type { ProxySettings } from '../http/proxy.ts'
import type { ApiKey } from './api-keys.ts'
import type { AppEntry, MerchantEntry } from './wechat-schema.ts'

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

/** Its `pushReply` absent: success. */
export type App = AppEntry

/**
 * With `apiV3Key` set, `certSerial` and `privateKey` are too. `certSerial` is in upper case, and read from `cert` where
 * only that was given. PEM texts have real line breaks.
 */
export type Merchant = Omit<MerchantEntry, 'appids'> & {
  /** The apps whose payments this merchant takes. */
  appids: readonly string[]
}

/** `api`: answers calls; `worker`: delivers events and asks for silent orders. */
export interface Roles {
  api: boolean
  worker: boolean
}

/** What events are posted to, and signed with. */
export interface Receiver {
  url: string
  secrets: readonly string[]
}

/** Where WeChat is, and how to get there. */
interface UpstreamSettings {
  /** The next is tried when one cannot be reached. */
  origins: readonly string[]
  timeoutMs: number
  proxy: ProxySettings
}

/** Each branch is what one plugin takes. */
export interface Settings {
  server: { host: string; port: number; logLevel: string; trustProxy: readonly string[] }
  roles: Roles
  meters: { appids: readonly string[] }
  redis: { url: string; prefix: string }
  sessions: {
    /** The first encrypts, all decrypt. */
    encryptionKeys: readonly EncryptionKey[]
    refreshTtlSeconds: number
    sessionKeyTtlSeconds: number
    /** From the login on; 0: none. */
    sessionMaxAgeSeconds: number
  }
  /** Requests a minute for one client; 0: none. */
  rateLimit: { perMinute: number }
  tokens: {
    /** The first signs, all verify. */
    jwtKeys: readonly JwtKey[]
    issuer: string
    tokenTtlSeconds: number
    /** No token is good for longer after the login; 0: none. */
    sessionMaxAgeSeconds: number
  }
  auth: {
    /** Empty: /internal answers 404. */
    internalApiKeys: readonly ApiKey[]
  }
  docs: { enabled: boolean; publicUrl: string }
  wechat: UpstreamSettings & {
    apps: readonly App[]
    /** 0: age unchecked. */
    watermarkMaxAgeSeconds: number
  }
  events: {
    /** undefined: events wait in Redis. */
    webhook: Receiver | undefined
    /** For calls to the receiver. */
    proxy: ProxySettings
    /** The most deliveries under way at once. */
    concurrency: number
    worker: boolean
    /** fsync: nothing counts as recorded before it is on Redis' disk. */
    durability: 'redis' | 'fsync'
  }
  pay: UpstreamSettings & {
    merchants: readonly Merchant[]
    /** Base of the notify URLs, without a trailing slash. */
    publicUrl: string
    reconcile: { enabled: boolean; firstMs: number }
    worker: boolean
  }
}
