/** Every error that the service answers with: one table of codes, and the class that carries one of them. */

/** What a body of another kind is told: forms are what many HTTP clients send by themselves. */
export const JSON_WANTED = 'The body is not JSON; send JSON, with the header content-type: application/json'

/**
 * code → [HTTP status, what the caller should do next]. The codes are the contract's; Fastify's own (FST_…) are not
 * listed.
 */
export const ERRORS = {
  BAD_REQUEST: [
    400,
    'This is not HTTP/1.1 as it can be read here; send the request again with a client that speaks it'
  ],
  REQUEST_TIMEOUT: [408, 'The request did not come whole within 30 seconds; send it again, at once'],
  PAYLOAD_TOO_LARGE: [413, 'The extensions of the chunks of this body are too long; send it without'],
  REQUEST_HEADER_FIELDS_TOO_LARGE: [431, 'The headers take more than 16 KiB; send fewer or shorter ones'],
  NOT_FOUND: [404, 'There is nothing here; check the path and the method'],
  APP_UNKNOWN: [400, 'This appid or mchid is not configured here; name one that is'],
  CODE_INVALID: [
    401,
    'WeChat does not accept this code: it is wrong, older than 5 minutes or made for another appid. ' +
      'Login codes come from wx.login, phone codes from the button; get a new one'
  ],
  CODE_USED: [401, 'This login code was used before; call wx.login again and send each code once'],
  USER_BLOCKED: [403, 'WeChat blocks the login of this user as risky; there is nothing to repeat'],
  WECHAT_RATE_LIMITED: [429, 'WeChat limits these calls; try again after the time in Retry-After'],
  WECHAT_BUSY: [503, 'WeChat is busy; try again in a second, for a login with a new code from wx.login'],
  WECHAT_CONFIG_INVALID: [
    500,
    'WeChat does not accept how this service is configured; its operator finds the reason in the log'
  ],
  WECHAT_UNREACHABLE: [502, 'WeChat cannot be reached; try again, for a login with a new code from wx.login'],
  WECHAT_TIMEOUT: [504, 'WeChat did not answer in time; try again, for a login with a new code from wx.login'],
  WECHAT_BAD_RESPONSE: [
    502,
    'WeChat gave an answer that is none; try again, for a login with a new code from wx.login'
  ],
  WECHAT_REJECTED: [502, 'WeChat refused the call; errcode and errmsg tell why'],
  TOKEN_MISSING: [401, 'Send the token as "Authorization: Bearer <token>"'],
  TOKEN_INVALID: [401, 'This token is not one of ours; log in again'],
  KEY_SCOPE: [403, 'The scopes of this API key do not allow this call; use a key that has the scope for it'],
  TOKEN_EXPIRED: [401, 'This token has expired; refresh it, or log in again'],
  SESSION_REVOKED: [401, 'This session has ended; log in again'],
  REFRESH_INVALID: [401, 'This refresh token is not one of ours; log in again'],
  REFRESH_EXPIRED: [401, 'This refresh token has expired; log in again'],
  REFRESH_REUSED: [401, 'This refresh token was used before, so the session has been ended; log in again'],
  SESSION_KEY_EXPIRED: [
    409,
    'No session_key is held any more; call wx.login, log in again, then obtain the data again'
  ],
  DATA_MALFORMED: [
    422,
    'rawData is rightly signed but is no JSON object; another login gains nothing, obtain the data again'
  ],
  DECRYPT_FAILED: [422, 'The data does not open with the session_key held; log in first, then obtain the data again'],
  WATERMARK_INVALID: [422, 'The data belongs to another appid or is too old; obtain it again in this mini-program'],
  SIGNATURE_INVALID: [422, 'rawData does not match its signature; send both exactly as the client got them'],
  RATE_LIMITED: [429, 'Too many requests; try again after the time in Retry-After'],
  REDIS_UNAVAILABLE: [503, 'The session store cannot be reached; try again in a second'],
  OVERLOADED: [503, 'The service has more to do than it can; try again in a second'],
  PAY_REJECTED: [422, 'WeChat Pay refused this; its code and message tell why'],
  INTERNAL: [500, 'Something unforeseen went wrong; the operator finds it in the log by the requestId']
} as const satisfies Record<string, readonly [status: number, message: string]>

export type ErrorCode = keyof typeof ERRORS

/** What WeChat itself answered: errcode, errmsg and rid of the platform, code and message of WeChat Pay. */
export interface WechatVerdict {
  errcode?: number
  errmsg?: string
  rid?: string | undefined
  code?: string
  message?: string
}

export interface ServiceErrorOptions {
  wechat?: WechatVerdict | undefined
  /** Replaces the table's sentence where more can be said; goes out, so it must hold no secret. */
  message?: string | undefined
  /** For the log only. */
  detail?: string | undefined
  cause?: unknown
  retryAfterSeconds?: number | undefined
}

/**
 * An expected error. `code` is stable, `message` tells the caller what to do next, `detail` and `cause` are for the
 * log only.
 */
export class ServiceError extends Error {
  readonly code: ErrorCode
  readonly statusCode: number
  readonly wechat: WechatVerdict | undefined
  readonly detail: string | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: ErrorCode, options: ServiceErrorOptions = {}) {
    const [statusCode, sentence] = ERRORS[code]
    super(options.message ?? sentence, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ServiceError'
    this.code = code
    this.statusCode = statusCode
    this.wechat = options.wechat
    this.detail = options.detail
    this.retryAfterSeconds = options.retryAfterSeconds ?? (statusCode === 429 || statusCode === 503 ? 1 : undefined)
  }
}

/** Whether `error` is a ServiceError with this code. */
export const hasCode = (error: unknown, code: ErrorCode): boolean =>
  error instanceof ServiceError && error.code === code

/** The places of a stack without the message in front of them, which may quote what must not be logged. */
export function placesOf(error: Error): string[] {
  return (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at '))
}
