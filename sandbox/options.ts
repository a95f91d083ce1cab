/** What a sandbox is told at its start: the accounts that exist at "WeChat". */
export interface SandboxApp {
  appid: string
  secret: string
  /** The app is bound to an Open Platform account: code2Session gives a unionid, profile data a unionId. */
  unionids?: boolean
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
