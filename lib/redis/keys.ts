/**
 * The one place that knows the names of our keys. What must live together stands in `{}`, so that Redis Cluster keeps
 * it together.
 */

export type Keys = Readonly<ReturnType<typeof redisKeys>>

export function redisKeys(prefix: string) {
  return {
    /** Hash of a user's sessions: session id → record, `u` → unionid, `k` → when the newest session_key ends. */
    sessions: (appid: string, openid: string) => `${prefix}:{${appid}:${openid}}`,
    /** The last session_keys of a user, sealed. */
    sessionKeys: (appid: string, openid: string) => `${prefix}:{${appid}:${openid}}:k`,
    /** How much data of a user did not open lately. */
    failedTries: (appid: string, openid: string) => `${prefix}:{${appid}:${openid}}:f`,
    /** One phone code of a user: who is exchanging it, then the number, sealed. */
    phoneCode: (appid: string, openid: string, codeHash: string) => `${prefix}:{${appid}:${openid}}:p:${codeHash}`,
    /** Who is having WeChat reset the session_key of a user. */
    sessionKeyLock: (appid: string, openid: string) => `${prefix}:{${appid}:${openid}}:lock`,
    /** One login code: who is exchanging it, then what came of it. */
    loginCode: (appid: string, codeHash: string) => `${prefix}:code:{${appid}:${codeHash}}`,
    /** The managed access_token of an app, sealed. */
    accessToken: (appid: string) => `${prefix}:token:{${appid}}`,
    /** Who is renewing that token. */
    accessTokenLock: (appid: string) => `${prefix}:token:{${appid}}:lock`,
    /** How often, and when last, WeChat was forced to make a new token. */
    accessTokenForced: (appid: string) => `${prefix}:token:{${appid}}:forced`,
    /** How often something was done in a window of time. */
    window: (name: string) => `${prefix}:limit:{${name}}`,
    /** What an order was made with. */
    order: (mchid: string, outTradeNo: string) => `${prefix}:order:{${mchid}:${outTradeNo}}`,
    /** The last known state of it. */
    orderState: (mchid: string, outTradeNo: string) => `${prefix}:order:{${mchid}:${outTradeNo}}:s`,
    /** What a refund was asked for with. */
    refund: (mchid: string, outRefundNo: string) => `${prefix}:refund:{${mchid}:${outRefundNo}}`,
    /** The last known state of it. */
    refundState: (mchid: string, outRefundNo: string) => `${prefix}:refund:{${mchid}:${outRefundNo}}:s`,
    /** Sorted set of the open orders and refunds of ours, by when WeChat is to be asked about each. */
    watched: `${prefix}:{watched}`,
    /** WeChat's platform certificates as a merchant was given them, sealed. */
    platformCertificates: (mchid: string) => `${prefix}:certificates:{${mchid}}`,
    /** While it exists, nobody asks for them. */
    platformCertificatesPause: (mchid: string) => `${prefix}:certificates:{${mchid}}:pause`,
    /** An authentic callback that contradicts settings or orders: what it said, sealed, and when it came. */
    quarantined: (id: string) => `${prefix}:{callbacks}:quarantined:${id}`,
    /** The ids of those, by when each came first. */
    quarantine: `${prefix}:{callbacks}:quarantine`,
    /** The last callbacks that were refused. */
    refusedCallbacks: `${prefix}:{callbacks}:refused`,
    /** Which message a plain push came with, by the signature of its query. */
    pushQuery: (appid: string, signatureHash: string) => `${prefix}:push:{${appid}:${signatureHash}}`,
    /** Written to know whether Redis takes writes; in a Redis Cluster each in another slot. */
    ready: (slot: number) => `${prefix}:{ready-${slot}}`,
    /** Everything of the event queue. */
    eventQueue: `${prefix}:{events}`,
    /** Everything of the queue of refund notices that WeChat has to confirm. */
    refundConfirmations: `${prefix}:{refund-confirmations}`
  }
}

export type EventKeys = Readonly<ReturnType<typeof eventKeys>>

/** The names inside `Keys.eventQueue`, of a BullMQ queue called `name`. */
export const eventKeys = (queue: string, name: string) => ({
  /** In front of the name of each job; what BullMQ calls its own keys by, too. */
  job: (id: string) => `${queue}:${name}:${id}`,
  /** Jobs that are to be tried again, by when, in BullMQ's own measure. */
  delayed: `${queue}:${name}:delayed`,
  delivered: `${queue}:${name}:completed`,
  failed: `${queue}:${name}:failed`,
  /** Ours: the jobs that are not delivered yet, by when they were recorded. */
  pending: `${queue}:waiting`,
  /** Written to know how far the disk is. */
  onDisk: `${queue}:on-disk`
})
