/** What a sandbox is told at its start: the accounts that exist at "WeChat". */
export interface SandboxApp {
  appid: string
  secret: string
  /** The app is bound to an Open Platform account: code2Session gives a unionid, profile data a unionId. */
  unionids?: boolean
  /** The published pages, without leading slash, such as `pages/index/index`. Absent: every page is. */
  pages?: string[]
  /** The app's owner switched the API security mode on. */
  apiSecurity?: ApiSecurity
  /** The app's owner switched message push on. */
  push?: PushSettings
}

export type PushMode = 'plain' | 'compatible' | 'safe'
export type PushFormat = 'xml' | 'json'

/** Message push (消息推送), as the console asks for it. */
export interface PushSettings {
  /** Where pushes go; absent: each one names its own. */
  url?: string
  /** 3 to 32 letters and digits. */
  token: string
  /** EncodingAESKey, 43 characters; compatible and safe mode need it. */
  aesKey?: string
  /** Default: safe with an aesKey, else plain. */
  mode?: PushMode
  /** Default json. */
  format?: PushFormat
  /** `gh_…`; default: made of the appid. */
  originalId?: string
}

/** What WeChat signs its answers with. */
export interface PlatformKey {
  /** PEM; the gateway holds its certificate or public key. */
  platformPrivateKeyPem: string
  /** As the console shows it. */
  platformSerial: string
}

/** AES256_GCM with RSAwithSHA256. */
export interface ApiSecurity extends PlatformKey {
  /** Base64 of 32 bytes. */
  symKey: string
  symSerial: string
  /** The gateway's, PEM. */
  appPublicKeyPem: string
  /** While certificates change: the one before, whose serial and signature stand in the -Deprecated headers. */
  deprecated?: PlatformKey
  /** The APIs that support it refuse plain requests; default false. */
  required?: boolean
}

export interface SandboxMerchant {
  mchid: string
  /** 32 characters. */
  apiV2Key: string
  /** The apps bound to this merchant. */
  appids: string[]
  /**
   * The merchant's own API certificate, PEM. v2 refunds have to present it by TLS, and v3 requests are verified with
   * it.
   */
  certificatePem?: string
  /** The merchant set an APIv3 key: APIv3 works. */
  v3?: MerchantV3
  /** Set in the merchant platform: where refunds that name no notify_url are reported to, in XML. */
  refundNotifyUrl?: string
}

/** One of publicKey and certificates is needed; with both, the merchant is migrating. */
export interface MerchantV3 {
  /** 32 bytes. */
  apiV3Key: string
  /** Of the merchant's certificate; default: that of certificatePem. */
  certSerial?: string
  /** The public half of what the merchant signs with, PEM; default: that of certificatePem. */
  publicKeyPem?: string
  /** Public-key mode. `id`: `PUB_KEY_ID_…`; the gateway holds the public half. */
  publicKey?: { id: string; privateKeyPem: string }
  /** Platform-certificate mode: the first signs, all are listed; the last is the one to come. */
  certificates?: PlatformCertificate[]
}

export interface PlatformCertificate {
  certificatePem: string
  privateKeyPem: string
}

/** A second listener, by TLS, that asks for client certificates. */
export interface TlsOptions {
  /** Default 0: any free one. */
  port?: number
  /** Default: made at the start, for 127.0.0.1 and localhost. */
  certificatePem?: string
  privateKeyPem?: string
}

export interface SandboxOptions {
  /** Default 127.0.0.1. */
  host?: string
  /** Default 0: any free one. */
  port?: number
  apps: SandboxApp[]
  merchants?: SandboxMerchant[]
  tls?: TlsOptions
  /** Whether v2 refunds without the merchant's certificate are refused; default: where `tls` is given. */
  refundsNeedCertificate?: boolean
  /** Milliseconds since 1970. Moves every expiry of the sandbox; delays of faults run in real time. */
  now?: () => number
}
