/** The one place that knows the names of our keys. What must live together stands in `{}`, so that Redis Cluster keeps it together. */

export interface Keys {
  /** Hash of a user's sessions: session id → record, `u` → unionid, `k` → when the newest session_key ends. */
  sessions(appid: string, openid: string): string
  /** The last session_keys of a user, sealed. */
  sessionKeys(appid: string, openid: string): string
  /** Who is having WeChat reset the session_key of a user. */
  sessionKeyLock(appid: string, openid: string): string
  /** One login code: who is exchanging it, then what came of it. */
  loginCode(appid: string, codeHash: string): string
  /** The managed access_token of an app, sealed. */
  accessToken(appid: string): string
  /** Who is renewing that token. */
  accessTokenLock(appid: string): string
  /** How often, and when last, WeChat was forced to make a new token. */
  accessTokenForced(appid: string): string
  /** How often something was done in a window of time. */
  window(name: string): string
  /** What an order was made with. */
  order(mchid: string, outTradeNo: string): string
  /** Authentic callbacks that contradict settings or orders: bodies, sealed. */
  quarantined(door: string, identity: string): string
  /** Which message a plain push came with, by the signature of its query. */
  pushQuery(appid: string, signatureHash: string): string
  /** Everything of the event queue. */
  eventQueue: string
}

export function redisKeys(prefix: string): Keys {
  return {
    sessions: (appid, openid) => `${prefix}:{${appid}:${openid}}`,
    sessionKeys: (appid, openid) => `${prefix}:{${appid}:${openid}}:k`,
    sessionKeyLock: (appid, openid) => `${prefix}:{${appid}:${openid}}:lock`,
    loginCode: (appid, codeHash) => `${prefix}:code:{${appid}:${codeHash}}`,
    accessToken: (appid) => `${prefix}:token:{${appid}}`,
    accessTokenLock: (appid) => `${prefix}:token:{${appid}}:lock`,
    accessTokenForced: (appid) => `${prefix}:token:{${appid}}:forced`,
    window: (name) => `${prefix}:limit:{${name}}`,
    order: (mchid, outTradeNo) => `${prefix}:order:{${mchid}:${outTradeNo}}`,
    quarantined: (door, identity) => `${prefix}:quarantined:{${door}:${identity}}`,
    pushQuery: (appid, signatureHash) => `${prefix}:push:{${appid}:${signatureHash}}`,
    eventQueue: `${prefix}:{events}`
  }
}
