/**
 * The one place that knows the names of our keys. What must live together stands in `{}`, so that Redis Cluster keeps
 * it together.
 */

export interface Keys {
  /** Hash of a user's sessions: session id → record, `u` → unionid, `k` → when the newest session_key ends. */
  sessions(appid: string, openid: string): string
  /** The last session_keys of a user, sealed. */
  sessionKeys(appid: string, openid: string): string
  /** How much data of a user did not open lately. */
  failedTries(appid: string, openid: string): string
  /** One phone code of a user: who is exchanging it, then the number, sealed. */
  phoneCode(appid: string, openid: string, codeHash: string): string
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
  /** The last known state of it. */
  orderState(mchid: string, outTradeNo: string): string
  /** What a refund was asked for with. */
  refund(mchid: string, outRefundNo: string): string
  /** The last known state of it. */
  refundState(mchid: string, outRefundNo: string): string
  /** Sorted set of the open orders and refunds of ours, by when WeChat is to be asked about each. */
  watched: string
  /** WeChat's platform certificates as a merchant was given them, sealed. */
  platformCertificates(mchid: string): string
  /** While it exists, nobody asks for them. */
  platformCertificatesPause(mchid: string): string
  /** An authentic callback that contradicts settings or orders: what it said, sealed, and when it came. */
  quarantined(id: string): string
  /** The ids of those, by when each came first. */
  quarantine: string
  /** The last callbacks that were refused. */
  refusedCallbacks: string
  /** Which message a plain push came with, by the signature of its query. */
  pushQuery(appid: string, signatureHash: string): string
  /** Written to know whether Redis takes writes; in a Redis Cluster each in another slot. */
  ready(slot: number): string
  /** Everything of the event queue. */
  eventQueue: string
  /** Everything of the queue of refund notices that WeChat has to confirm. */
  refundConfirmations: string
}

export interface EventKeys {
  /** In front of the name of each job; what BullMQ calls its own keys by, too. */
  job(id: string): string
  /** Jobs that are to be tried again, by when, in BullMQ's own measure. */
  delayed: string
  delivered: string
  failed: string
  /** Ours: the jobs that are not delivered yet, by when they were recorded. */
  pending: string
  /** Written to know how far the disk is. */
  onDisk: string
}

/** The names inside `Keys.eventQueue`, of a BullMQ queue called `name`. */
export const eventKeys = (queue: string, name: string): EventKeys => ({
  job: (id) => `${queue}:${name}:${id}`,
  delayed: `${queue}:${name}:delayed`,
  delivered: `${queue}:${name}:completed`,
  failed: `${queue}:${name}:failed`,
  pending: `${queue}:waiting`,
  onDisk: `${queue}:on-disk`
})

export function redisKeys(prefix: string): Keys {
  return {
    sessions: (appid, openid) => `${prefix}:{${appid}:${openid}}`,
    sessionKeys: (appid, openid) => `${prefix}:{${appid}:${openid}}:k`,
    failedTries: (appid, openid) => `${prefix}:{${appid}:${openid}}:f`,
    phoneCode: (appid, openid, codeHash) => `${prefix}:{${appid}:${openid}}:p:${codeHash}`,
    sessionKeyLock: (appid, openid) => `${prefix}:{${appid}:${openid}}:lock`,
    loginCode: (appid, codeHash) => `${prefix}:code:{${appid}:${codeHash}}`,
    accessToken: (appid) => `${prefix}:token:{${appid}}`,
    accessTokenLock: (appid) => `${prefix}:token:{${appid}}:lock`,
    accessTokenForced: (appid) => `${prefix}:token:{${appid}}:forced`,
    window: (name) => `${prefix}:limit:{${name}}`,
    order: (mchid, outTradeNo) => `${prefix}:order:{${mchid}:${outTradeNo}}`,
    orderState: (mchid, outTradeNo) => `${prefix}:order:{${mchid}:${outTradeNo}}:s`,
    refund: (mchid, outRefundNo) => `${prefix}:refund:{${mchid}:${outRefundNo}}`,
    refundState: (mchid, outRefundNo) => `${prefix}:refund:{${mchid}:${outRefundNo}}:s`,
    watched: `${prefix}:{watched}`,
    platformCertificates: (mchid) => `${prefix}:certificates:{${mchid}}`,
    platformCertificatesPause: (mchid) => `${prefix}:certificates:{${mchid}}:pause`,
    quarantined: (id) => `${prefix}:{callbacks}:quarantined:${id}`,
    quarantine: `${prefix}:{callbacks}:quarantine`,
    refusedCallbacks: `${prefix}:{callbacks}:refused`,
    pushQuery: (appid, signatureHash) => `${prefix}:push:{${appid}:${signatureHash}}`,
    ready: (slot) => `${prefix}:{ready-${slot}}`,
    eventQueue: `${prefix}:{events}`,
    refundConfirmations: `${prefix}:{refund-confirmations}`
  }
}
