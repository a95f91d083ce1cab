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
}

export interface SandboxOptions {
  /** Default 127.0.0.1. */
  host?: string
  /** Default 0: any free one. */
  port?: number
  apps: SandboxApp[]
  merchants?: SandboxMerchant[]
  /** Milliseconds since 1970. Moves every expiry of the sandbox; delays of faults run in real time. */
  now?: () => number
}
